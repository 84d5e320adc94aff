//! Writes what a server answered into a script, in place of what stood there.

use super::answer::Answer;
use super::script::Script;

/// The script's text with these answers, one for each step. Where there is none, what stands
/// there stays.
pub fn rewrite(text: &str, script: &Script, answers: &[Option<Answer>]) -> String {
    let old: Vec<&str> = text.lines().collect();
    let mut new: Vec<String> = Vec::new();
    let mut copied = 0;
    for (step, answer) in script.steps.iter().zip(answers) {
        let Some(answer) = answer else { continue };
        let range = &step.answer_lines;
        new.extend(old[copied..range.start].iter().map(|line| (*line).to_owned()));
        new.extend(answer.lines());
        copied = range.end;
    }
    new.extend(old[copied..].iter().map(|line| (*line).to_owned()));
    new.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_answers_are_replaced() {
        let text = "# What.\n\nPut key: \"a\"\n  old\n  old too\nlet R = header.revision\n\
                    # Why.\nw = Watch\nw <\n\nPut key: \\\n  \"b\"\n  kept\n";
        let script = Script::parse("put/a", text).unwrap();
        let answers = [Some(Answer::End), None, Some(Answer::Nothing), None];
        let expected = "# What.\n\nPut key: \"a\"\n  (end)\nlet R = header.revision\n\
                        # Why.\nw = Watch\nw <\n  (nothing came)\n\nPut key: \\\n  \"b\"\n  kept\n";
        assert_eq!(rewrite(text, &script, &answers), expected);
    }
}

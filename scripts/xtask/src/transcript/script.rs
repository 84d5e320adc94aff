//! A transcript script: etcdctl commands with their stdin.
//!
//! ```text
//! # a comment
//! ! members 3                   of the cluster; 1 without this line
//! ! joiners 1                   members that a step starts, after those of the cluster
//! ! flag --quota-backend-bytes 1    a further flag of the servers
//! ! https                       clients' links are secured
//! ! logs                        in the end, what etcd-dump-logs prints of their logs is compared
//! $ put a 1                     a command; the next one starts when it has ended
//! $ txn --interactive
//! < value("a") = "1"            lines of its stdin
//! <
//! $ lease grant 60 => L         the id it prints is known as {L} from here on
//! $ put b 2 --lease={L}
//! $@4 watch a --rev=2           ended once it has printed 4 lines
//! &w@4 watch a --rev=9          the same in the background, named w
//! .w                            waits for w; what it printed is compared here
//! &l lock a => K                in the background too, but it goes on:
//! :l@1                          waits until it has printed 1 line
//! ^l                            sends it Ctrl-C, and waits for its end
//! +                             starts the next joiner, which has been added, and waits until it serves
//! ```
//!
//! With several members, `{m1}`, `{m2}` and so on are their ids; the first one leads at the start.
//! `{m1.address}` is where a member is, `{m1.peer}` its peer URL, `{certificates}` a folder of
//! certificates. Commands go to all members of the start unless they name endpoints.

use anyhow::{Context, Result, bail};

/// A parsed script.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Script {
    /// Members of the cluster at the start.
    pub(super) members: usize,
    /// Members that steps start.
    pub(super) joiners: usize,
    /// Whether clients' links are secured.
    pub(super) is_https: bool,
    /// Whether the members' logs are compared in the end.
    pub(super) compares_logs: bool,
    /// Flags of the servers.
    pub(super) flags: Vec<(String, String)>,
    /// In order.
    pub(super) steps: Vec<Step>,
}

/// One step, and the line it stands on.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Step {
    /// Counted from 1.
    pub(super) line: usize,
    /// What to do.
    pub(super) action: Action,
}

/// What a step does.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// Runs a command to its end.
    Run(Command),
    /// Starts a command and goes on.
    Start(String, Command),
    /// Waits until a command that was started has printed so many lines; it goes on.
    Until(String, usize),
    /// Waits for a command that was started.
    Await(String),
    /// Ends a command that was started, as Ctrl-C does, and waits for it.
    Interrupt(String),
    /// Starts the next joiner.
    Join,
}

/// An etcdctl command.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Command {
    /// As written, for messages.
    pub(super) text: String,
    /// Without `etcdctl` and the endpoint.
    pub(super) arguments: Vec<String>,
    /// What it reads.
    pub(super) stdin: String,
    /// Names the id that the command prints.
    pub(super) id_name: Option<String>,
    /// It does not end by itself: it is ended once it has printed so many lines.
    pub(super) lines_wanted: Option<usize>,
}

impl Script {
    /// Parses a script; an error names the line.
    pub(super) fn parse(text: &str) -> Result<Self> {
        let mut script = Script {
            members: 1,
            joiners: 0,
            is_https: false,
            compares_logs: false,
            flags: Vec::new(),
            steps: Vec::new(),
        };
        for (number, line) in text.lines().enumerate() {
            let line = line.trim_end();
            if !line.is_empty() && !line.starts_with('#') {
                script
                    .parse_line(number + 1, line)
                    .with_context(|| format!("line {}: {line}", number + 1))?;
            }
        }
        Ok(script)
    }

    fn parse_line(&mut self, number: usize, line: &str) -> Result<()> {
        if let Some(setting) = line.strip_prefix("! ") {
            return self.parse_setting(setting);
        }
        if let Some(input) = line.strip_prefix('<') {
            let command = self.last_command()?;
            command.stdin.push_str(input.strip_prefix(' ').unwrap_or(input));
            command.stdin.push('\n');
            return Ok(());
        }
        self.steps.push(Step { line: number, action: parse_action(line)? });
        Ok(())
    }

    fn parse_setting(&mut self, setting: &str) -> Result<()> {
        if !self.steps.is_empty() {
            bail!("the servers run already");
        }
        match setting.split(' ').collect::<Vec<_>>()[..] {
            ["members", count] => self.members = count.parse().context("a number of members")?,
            ["joiners", count] => self.joiners = count.parse().context("a number of joiners")?,
            ["flag", name, value] => self.flags.push((name.to_owned(), value.to_owned())),
            ["https"] => self.is_https = true,
            ["logs"] => self.compares_logs = true,
            _ => bail!(
                "a setting is `members COUNT`, `joiners COUNT`, `flag NAME VALUE`, `https` or `logs`"
            ),
        }
        Ok(())
    }

    fn last_command(&mut self) -> Result<&mut Command> {
        match self.steps.last_mut().map(|step| &mut step.action) {
            Some(Action::Run(command) | Action::Start(_, command)) => Ok(command),
            _ => bail!("stdin without a command"),
        }
    }
}

fn parse_action(line: &str) -> Result<Action> {
    if line == "+" {
        return Ok(Action::Join);
    }
    if let Some(name) = line.strip_prefix('.') {
        return Ok(Action::Await(name.to_owned()));
    }
    if let Some(name) = line.strip_prefix('^') {
        return Ok(Action::Interrupt(name.to_owned()));
    }
    if let Some(until) = line.strip_prefix(':') {
        let (name, lines) = until.split_once('@').context("a number of lines is missing")?;
        return Ok(Action::Until(name.to_owned(), lines.parse().context("a number of lines")?));
    }
    let (head, rest) = line.split_once(' ').context("a command is missing")?;
    let (mark, lines_wanted) = match head.split_once('@') {
        Some((mark, lines)) => (mark, Some(lines.parse().context("a number of lines")?)),
        None => (head, None),
    };
    let (text, id_name) = match rest.rsplit_once(" => ") {
        Some((text, name)) => (text, Some(name.to_owned())),
        None => (rest, None),
    };
    let arguments = shlex::split(text).context("quotes do not match")?;
    let text = text.to_owned();
    let command = Command { text, arguments, stdin: String::new(), id_name, lines_wanted };
    match (mark, mark.strip_prefix('&')) {
        ("$", _) => Ok(Action::Run(command)),
        (_, Some(name)) => Ok(Action::Start(name.to_owned(), command)),
        _ => bail!("a line begins with `$`, `&`, `.`, `:`, `^`, `+`, `<`, `!` or `#`"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_is_parsed_with_stdin_ids_and_background_commands() {
        let text = "# x\n$ put 'a b' 1\n\n$ txn -i\n< get a\n<\n$ lease grant 9 => L\n\
                    &w@4 watch a\n.w\n";
        let script = Script::parse(text).unwrap();
        let actions: Vec<&Action> = script.steps.iter().map(|step| &step.action).collect();
        let [
            Action::Run(put),
            Action::Run(txn),
            Action::Run(grant),
            Action::Start(name, watch),
            Action::Await(awaited),
        ] = actions[..]
        else {
            panic!("{actions:?}")
        };
        assert_eq!(put.arguments, ["put", "a b", "1"]);
        assert_eq!(txn.stdin, "get a\n\n");
        assert_eq!(grant.id_name.as_deref(), Some("L"));
        assert_eq!((name.as_str(), watch.lines_wanted, awaited.as_str()), ("w", Some(4), "w"));
        assert_eq!(script.steps[2].line, 7);
        assert_eq!((script.members, script.flags), (1, vec![]));
    }

    #[test]
    fn a_command_that_goes_on_is_waited_for_and_ended() {
        let script = Script::parse("&l lock a => K\n:l@1\n^l\n").unwrap();
        let actions: Vec<&Action> = script.steps.iter().map(|step| &step.action).collect();
        let [Action::Start(name, lock), Action::Until(until, 1), Action::Interrupt(ended)] =
            actions[..]
        else {
            panic!("{actions:?}")
        };
        assert_eq!((name.as_str(), until.as_str(), ended.as_str()), ("l", "l", "l"));
        assert_eq!(lock.id_name.as_deref(), Some("K"));
    }

    #[test]
    fn the_servers_are_set_up_before_the_first_command() {
        let script =
            Script::parse("! members 3\n! joiners 1\n! flag --max-txn-ops 2\n+\n$ get a\n")
                .unwrap();
        assert_eq!((script.members, script.joiners), (3, 1));
        assert_eq!(script.steps[0].action, Action::Join);
        assert_eq!(script.flags, [("--max-txn-ops".to_owned(), "2".to_owned())]);
        assert!(Script::parse("$ get a\n! members 3\n").is_err());
        assert!(Script::parse("! member 3\n").is_err());
    }

    #[test]
    fn an_error_names_its_line() {
        for (text, wanted) in [
            ("$ put a 1\n? get a", "line 2: ? get a"),
            ("< a", "line 1: < a"),
            ("$ put 'a", "line 1: $ put 'a"),
        ] {
            assert_eq!(Script::parse(text).unwrap_err().to_string(), wanted);
        }
    }
}

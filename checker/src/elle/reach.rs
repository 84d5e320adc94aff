//! Who reaches whom, for many pairs at once.
//!
//! Sixty-four destinations at a time: one bit for each in every component of the graph, handed from
//! where edges lead back to where they come from. That takes as many passes over the edges as there are
//! destinations, over sixty-four.

use super::component::{Component, Through};
use super::graph::{Labels, Node};
use super::numbering::{at, number};
use super::scc::Numbering;

/// Destinations in one pass.
const BLOCK: usize = 64;

/// Edges that `reaching` looks at for so many pairs.
pub(crate) fn cost(component: &Component, pairs: usize) -> u64 {
    let passes = pairs.div_ceil(BLOCK);
    u64::try_from(passes.saturating_mul(component.edge_count())).expect("usize fits u64")
}

/// For each pair, whether the first reaches the second over edges with these labels.
pub(crate) fn reaching(component: &Component, labels: Labels, pairs: &[(Node, Node)]) -> Vec<bool> {
    let view = Through { component, labels };
    let numbering = Numbering::new(&view);
    let mut nodes: Vec<Node> = (0..number(component.nodes())).collect();
    nodes.sort_unstable_by_key(|node| numbering.of[at(*node)]);
    let mut answers = Vec::with_capacity(pairs.len());
    let mut reached: Vec<u64> = vec![0; numbering.sizes.len()];
    for block in pairs.chunks(BLOCK) {
        reached.fill(0);
        for (bit, (_, destination)) in block.iter().enumerate() {
            reached[at(numbering.of[at(*destination)])] |= 1 << bit;
        }
        // Edges lead to components with lower numbers, which are complete by then.
        for node in &nodes {
            let from = at(numbering.of[at(*node)]);
            for (target, _) in component.out(*node).filter(|(_, label)| labels.contains(*label)) {
                reached[from] |= reached[at(numbering.of[at(target)])];
            }
        }
        let has = |bit: usize, start: Node| reached[at(numbering.of[at(start)])] >> bit & 1 == 1;
        answers.extend(block.iter().enumerate().map(|(bit, (start, _))| has(bit, *start)));
    }
    answers
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::component::Times;
    use super::super::graph::{Builder, Label};
    use super::*;

    proptest! {
        #[test]
        fn agrees_with_walking(edges in prop::collection::vec((0_u32..15, 0_u32..15, any::<bool>()), 0..40)) {
            let mut builder = Builder::new(15);
            for (from, to, may) in &edges {
                builder.link(*from, *to, if *may { Label::Ww } else { Label::Rw });
            }
            let all: Vec<Node> = (0..15).collect();
            let times = |_| Times { invoked: 0, returned: 0 };
            let component = Component::cut(&builder.build(), all, times);
            let labels = Labels::of(&[Label::Ww]);
            let pairs: Vec<(Node, Node)> =
                (0..15).flat_map(|from| (0..15).map(move |to| (from, to))).collect();
            let answers = reaching(&component, labels, &pairs);
            prop_assert_eq!(answers.len(), pairs.len());
            for ((from, to), answer) in pairs.iter().zip(answers) {
                let mut seen = [false; 15];
                let mut work = vec![*from];
                seen[at(*from)] = true;
                while let Some(node) = work.pop() {
                    for (target, _) in component.out(node).filter(|(_, label)| *label == Label::Ww) {
                        if !std::mem::replace(&mut seen[at(target)], true) {
                            work.push(target);
                        }
                    }
                }
                prop_assert_eq!(answer, seen[at(*to)], "{} to {}", from, to);
            }
        }
    }
}

//! What is wrong with the network between hosts, as counts: faults overlap, and the network itself
//! knows only whether a link is whole, cut or held.

use turmoil::Sim;

/// All links between hosts. Members come first; the last host is the clients'.
#[derive(Debug)]
pub(super) struct Links {
    names: Vec<String>,
    /// `cut[from * hosts + to]`: how many faults keep messages away.
    cut: Vec<u32>,
    /// By host: how many faults hold everything that it sends and gets.
    held: Vec<u32>,
    /// As the network was last told, by pair.
    told: Vec<Link>,
}

/// How two hosts are linked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Link {
    is_held: bool,
    /// From the first to the second, and back.
    is_cut: (bool, bool),
}

impl Links {
    /// All whole.
    pub(super) fn new(names: Vec<String>) -> Links {
        let hosts = names.len();
        Links {
            names,
            cut: vec![0; hosts * hosts],
            held: vec![0; hosts],
            told: vec![Link::default(); hosts * hosts],
        }
    }

    /// Cuts one direction, or takes a cut back.
    pub(super) fn set_cut(&mut self, sim: &Sim<'_>, from: usize, to: usize, is_cut: bool) {
        let cuts = &mut self.cut[from * self.names.len() + to];
        *cuts = if is_cut { *cuts + 1 } else { cuts.saturating_sub(1) };
        self.tell(sim, from.min(to), from.max(to));
    }

    /// Cuts a host off in both directions, or takes that back.
    pub(super) fn set_alone(&mut self, sim: &Sim<'_>, host: usize, is_alone: bool) {
        for other in (0..self.names.len()).filter(|other| *other != host) {
            self.set_cut(sim, host, other, is_alone);
            self.set_cut(sim, other, host, is_alone);
        }
    }

    /// Holds what a host sends and gets, or lets go of it.
    pub(super) fn set_held(&mut self, sim: &Sim<'_>, host: usize, is_held: bool) {
        let held = &mut self.held[host];
        *held = if is_held { *held + 1 } else { held.saturating_sub(1) };
        for other in (0..self.names.len()).filter(|other| *other != host) {
            self.tell(sim, host.min(other), host.max(other));
        }
    }

    /// Takes everything back, also what the network did by itself.
    pub(super) fn heal(&mut self, sim: &Sim<'_>) {
        self.cut.fill(0);
        self.held.fill(0);
        self.told.fill(Link::default());
        for one in 0..self.names.len() {
            for other in one + 1..self.names.len() {
                self.make_whole(sim, one, other);
            }
        }
    }

    fn make_whole(&self, sim: &Sim<'_>, one: usize, other: usize) {
        let (one, other) = (self.names[one].as_str(), self.names[other].as_str());
        sim.release(one, other);
    }

    fn tell(&mut self, sim: &Sim<'_>, one: usize, other: usize) {
        let hosts = self.names.len();
        let wanted = Link {
            is_held: self.held[one] + self.held[other] > 0,
            is_cut: (self.cut[one * hosts + other] > 0, self.cut[other * hosts + one] > 0),
        };
        let told = &mut self.told[one * hosts + other];
        if *told == wanted {
            return;
        }
        *told = wanted;
        self.make_whole(sim, one, other);
        let (one, other) = (self.names[one].as_str(), self.names[other].as_str());
        match wanted.is_cut {
            (true, true) => sim.partition(one, other),
            (true, false) => sim.partition_oneway(one, other),
            (false, true) => sim.partition_oneway(other, one),
            (false, false) if wanted.is_held => sim.hold(one, other),
            (false, false) => {}
        }
    }
}

//! Choosing among things of different weight.

/// Things with weights.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Weights<T> {
    /// Each thing with the sum of the weights up to and with its own.
    things: Vec<(u64, T)>,
    total: u64,
}

impl<T> Weights<T> {
    /// Weighs things; one of weight 0 is never picked.
    pub fn new(things: impl IntoIterator<Item = (T, u32)>) -> Weights<T> {
        let mut total = 0;
        let weigh = |(thing, weight)| {
            total += u64::from(weight);
            (total, thing)
        };
        let things = things.into_iter().map(weigh).collect();
        Weights { things, total }
    }

    /// True if nothing can be picked.
    pub fn is_empty(&self) -> bool {
        self.total == 0
    }

    /// Picks one by even random bits; `None` if there is nothing.
    pub fn pick(&self, bits: u64) -> Option<&T> {
        let point = bits.checked_rem(self.total)?;
        let at = self.things.partition_point(|(upto, _)| *upto <= point);
        self.things.get(at).map(|(_, thing)| thing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn things_are_picked_by_weight() {
        let weights = Weights::new([("a", 1), ("never", 0), ("b", 3)]);
        let picked: String = (0..8).map(|bits| *weights.pick(bits).unwrap()).collect();
        assert_eq!(picked, "abbbabbb");
        assert!(!weights.is_empty());
        assert!(Weights::new([("a", 0)]).is_empty());
        assert_eq!(Weights::new([("a", 0)]).pick(1), None);
    }
}

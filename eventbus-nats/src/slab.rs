//! A slab whose keys are never used twice, so that a late answer is told from one for the
//! slot's next entry.

const SLOT_BITS: u32 = 24;
const SLOT_MASK: u64 = (1 << SLOT_BITS) - 1;

struct Slot<T> {
    generation: u64,
    entry: Option<T>,
}

pub(crate) struct Slab<T> {
    slots: Vec<Slot<T>>,
    free: Vec<usize>,
}

impl<T> Slab<T> {
    pub(crate) const fn new() -> Self {
        Self { slots: Vec::new(), free: Vec::new() }
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    pub(crate) fn insert(&mut self, entry: T) -> u64 {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot { generation: 0, entry: None });
            self.slots.len() - 1
        });
        let place = &mut self.slots[slot];
        place.entry = Some(entry);
        key(place.generation, slot)
    }

    pub(crate) fn remove(&mut self, key: u64) -> Option<T> {
        let slot = (key & SLOT_MASK) as usize;
        let place = self.slots.get_mut(slot)?;
        if place.generation != key >> SLOT_BITS {
            return None;
        }
        let entry = place.entry.take()?;
        place.generation += 1;
        self.free.push(slot);
        Some(entry)
    }

    pub(crate) fn get_mut(&mut self, key: u64) -> Option<&mut T> {
        let place = self.slots.get_mut((key & SLOT_MASK) as usize)?;
        if place.generation != key >> SLOT_BITS {
            return None;
        }
        place.entry.as_mut()
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (u64, &mut T)> {
        self.slots.iter_mut().enumerate().filter_map(|(slot, place)| {
            let generation = place.generation;
            place.entry.as_mut().map(|entry| (key(generation, slot), entry))
        })
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, &T)> {
        self.slots.iter().enumerate().filter_map(|(slot, place)| {
            place.entry.as_ref().map(|entry| (key(place.generation, slot), entry))
        })
    }

    /// Takes out what `wanted` selects.
    pub(crate) fn take(&mut self, wanted: impl Fn(&T) -> bool) -> Vec<T> {
        let keys: Vec<u64> =
            self.iter().filter(|(_, entry)| wanted(entry)).map(|(key, _)| key).collect();
        keys.into_iter().filter_map(|key| self.remove(key)).collect()
    }
}

const fn key(generation: u64, slot: usize) -> u64 {
    generation << SLOT_BITS | slot as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_never_used_twice() {
        let mut slab = Slab::new();
        let first = slab.insert('a');
        assert_eq!(slab.remove(first), Some('a'));
        let second = slab.insert('b');
        assert_ne!(first, second);
        assert_eq!(slab.remove(first), None);
        assert_eq!(slab.get_mut(second), Some(&mut 'b'));
        assert_eq!(slab.len(), 1);
        assert_eq!(slab.take(|_| true), vec!['b']);
        assert_eq!(slab.len(), 0);
    }
}

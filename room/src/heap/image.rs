//! The heap as the bytes of a snapshot, and back.

use super::made::Vacancy;
use super::page::{NO_PAGE, Page};
use super::{Heap, MADE_FROM, VALUES_PER_PAGE};
use crate::bytes::{Malformed, Reader, length, put_bytes};
use crate::limits::{HEAP_BYTES_MAX, HEAP_VALUE_BYTES_MAX};
use std::sync::Arc;

impl Heap {
    /// How many pages there are of those that callbacks have needed, and how many numbers of those that schema changes have made.
    pub(crate) fn page_counts(&self) -> (usize, usize) {
        (self.grown.pages.len(), self.made.pages.len())
    }

    /// The counts of pages. The second is left out where it is 0, as it was before there were such pages.
    pub(crate) fn put_head(&self, out: &mut Vec<u8>) {
        let (grown, made) = self.page_counts();
        out.extend_from_slice(&length(grown));
        if made > 0 {
            out.extend_from_slice(&length(made));
        }
    }

    /// What `put_head` wrote.
    pub(crate) fn read_head(from: &mut Reader<'_>) -> Result<(usize, usize), Malformed> {
        let count = |from: &mut Reader<'_>| {
            let count = from.u32("pages of texts")?;
            match count as usize <= MADE_FROM {
                true => Ok(count as usize),
                false => Err(Malformed::Value {
                    what: "pages of texts",
                    found: count.into(),
                    expected: "no more than a heap may have",
                }),
            }
        };
        let grown = count(from)?;
        Ok((grown, if from.is_at_end() { 0 } else { count(from)? }))
    }

    /// The generations of a page, and its live values, each after its length.
    pub(crate) fn put_page(&self, number: usize, out: &mut Vec<u8>) {
        put(&self.grown.pages[number], out);
    }

    /// The same of a page that a schema change has made, after a zero; or a one, and the generation, where there is none.
    pub(crate) fn put_made_page(&self, number: usize, out: &mut Vec<u8>) {
        match self.vacant.binary_search_by_key(&number, |vacancy| vacancy.number as usize) {
            Ok(found) => {
                out.push(1);
                out.extend_from_slice(&self.vacant[found].generation.to_le_bytes());
            }
            Err(_) => {
                out.push(0);
                put(&self.made.pages[number], out);
            }
        }
    }

    /// Adds the next page, which `put_page` wrote.
    pub(crate) fn read_page(&mut self, from: &mut Reader<'_>) -> Result<(), Malformed> {
        let page = self.read(from)?;
        self.grown.add(Arc::new(page));
        Ok(())
    }

    /// Adds the next page that a schema change has made, which `put_made_page` wrote.
    pub(crate) fn read_made_page(&mut self, from: &mut Reader<'_>) -> Result<(), Malformed> {
        if !from.flag("whether a page of texts is gone")? {
            let page = self.read(from)?;
            self.made.add(Arc::new(page));
            return Ok(());
        }
        let generation = from.u32("generation of a page of texts")?;
        if generation & 1 == 1 {
            let (found, expected) = (generation.into(), "that of free slots");
            return Err(Malformed::Value { what: "generation of a page of texts", found, expected });
        }
        let vacancy = Vacancy::new(self.made.add(NO_PAGE.clone()), generation);
        Arc::make_mut(&mut self.vacant).push(vacancy);
        self.made.vacate(vacancy);
        Ok(())
    }

    fn read(&mut self, from: &mut Reader<'_>) -> Result<Page, Malformed> {
        let mut page = Page::empty(0);
        for generation in &mut page.generations {
            *generation = from.u32("generation of a text")?;
        }
        for slot in (0..VALUES_PER_PAGE).filter(|slot| page.generations[*slot] & 1 == 1) {
            let value = from.bytes("text")?;
            self.bytes += value.len();
            if value.len() > HEAP_VALUE_BYTES_MAX || self.bytes > HEAP_BYTES_MAX {
                let expected = "no more than a heap may hold";
                return Err(Malformed::Value { what: "bytes of texts", found: self.bytes as u64, expected });
            }
            page.values[slot] = Some(value.into());
            page.live += 1;
        }
        Ok(page)
    }
}

fn put(page: &Page, out: &mut Vec<u8>) {
    page.generations.iter().for_each(|generation| out.extend_from_slice(&generation.to_le_bytes()));
    page.values.iter().flatten().for_each(|value| put_bytes(out, value));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_heap_with_every_page_that_it_may_have_is_read() {
        let read = |counts: [usize; 2]| Heap::read_head(&mut Reader::new(&counts.map(length).concat())).ok();
        assert_eq!(read([MADE_FROM, MADE_FROM]), Some((MADE_FROM, MADE_FROM)));
        assert_eq!(read([MADE_FROM + 1, 0]), None);
        assert_eq!(read([0, MADE_FROM + 1]), None);
    }
}

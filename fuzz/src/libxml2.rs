//! libxml2, for comparison. The only unsafe code of the project that is not somebody else's.

use std::ffi::{c_char, c_int, c_void};

unsafe extern "C" {
    fn peer_parse(text: *const c_char, length: c_int) -> *mut c_void;
    fn peer_free(document: *mut c_void);
    fn peer_canonical(
        document: *mut c_void,
        exclusive: c_int,
        apex: c_int,
        omit: c_int,
        length: *mut c_int,
    ) -> *mut u8;
    fn peer_free_octets(octets: *mut u8);
}

/// A document that libxml2 has parsed.
pub struct Document(*mut c_void);

impl Document {
    /// `None` where libxml2 refuses it.
    pub fn parse(text: &[u8]) -> Option<Document> {
        let length = c_int::try_from(text.len()).ok()?;
        // SAFETY: the text is as long as is said, and libxml2 keeps none of it.
        let document = unsafe { peer_parse(text.as_ptr().cast(), length) };
        (!document.is_null()).then_some(Document(document))
    }

    /// The canonical form, without comments, of the element number `apex` in document order (`None`: of
    /// the document) less the element number `omit`; `None` where libxml2 refuses.
    pub fn canonical(&self, exclusive: bool, apex: Option<usize>, omit: Option<usize>) -> Option<Vec<u8>> {
        let number = |of: Option<usize>| of.map_or(-1, |of| c_int::try_from(of).expect("few elements"));
        let mut length = 0;
        // SAFETY: the document lives as long as `self`; what comes back is as long as is said and is ours
        // to free.
        unsafe {
            let octets =
                peer_canonical(self.0, c_int::from(exclusive), number(apex), number(omit), &mut length);
            if octets.is_null() {
                return None;
            }
            let copy = std::slice::from_raw_parts(octets, usize::try_from(length).expect("no negative size"));
            let copy = copy.to_vec();
            peer_free_octets(octets);
            Some(copy)
        }
    }
}

impl Drop for Document {
    fn drop(&mut self) {
        // SAFETY: made by `peer_parse`, freed once.
        unsafe { peer_free(self.0) }
    }
}

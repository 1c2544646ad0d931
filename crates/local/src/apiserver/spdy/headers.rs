//! The headers of SPDY's streams: names and values with their lengths, compressed by zlib as one
//! stream for all heads of a connection, on a dictionary that both sides know.

use std::io;

use bytes::Buf as _;
use flate2::{Decompress, FlushDecompress, Status};

use super::Error;

/// The longest block of headers, uncompressed; kubectl's have a hundred bytes.
const MOST_HEADERS: usize = 16 * 1024;

/// What the dictionary begins with: words, each after its length in four bytes.
const WORDS: &str = "options,head,post,put,delete,trace,accept,accept-charset,accept-encoding,\
    accept-language,accept-ranges,age,allow,authorization,cache-control,connection,content-base,\
    content-encoding,content-language,content-length,content-location,content-md5,content-range,\
    content-type,date,etag,expect,expires,from,host,if-match,if-modified-since,if-none-match,\
    if-range,if-unmodified-since,last-modified,location,max-forwards,pragma,proxy-authenticate,\
    proxy-authorization,range,referer,retry-after,server,te,trailer,transfer-encoding,upgrade,\
    user-agent,vary,via,warning,www-authenticate,method,get,status,200 OK,version,HTTP/1.1,url,\
    public,set-cookie,keep-alive,origin";

/// What it ends with.
const TEXT: &str = "100101201202205206300302303304305306307402405406407408409410411412413414415416\
    417502504505203 Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request\
    401 Unauthorized403 Forbidden404 Not Found500 Internal Server Error501 Not Implemented\
    503 Service UnavailableJan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00 Mon, Tue, Wed, \
    Thu, Fri, Sat, Sun, GMTchunked,text/html,image/png,image/jpg,image/gif,application/xml,\
    application/xhtml+xml,text/plain,text/javascript,publicprivatemax-age=gzip,deflate,\
    sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0.";

/// The dictionary of SPDY/3.
fn dictionary() -> Vec<u8> {
    let mut bytes = Vec::with_capacity(1423);
    for word in WORDS.split(',') {
        let length = u32::try_from(word.len()).unwrap_or(u32::MAX);
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes.extend_from_slice(word.as_bytes());
    }
    bytes.extend_from_slice(TEXT.as_bytes());
    bytes
}

/// Reads blocks of headers in the order in which they come.
#[derive(Debug)]
pub(super) struct Inflater(Decompress);

// === impl Inflater ===

impl Inflater {
    pub(super) fn new() -> Self {
        Self(Decompress::new(true))
    }

    /// The headers of a block.
    pub(super) fn headers(&mut self, block: &[u8]) -> Result<Vec<(String, String)>, Error> {
        let inflated = self.inflate(block);
        let inflated = inflated.map_err(|error| Error::Headers(error.to_string()))?;
        parse(&inflated).ok_or_else(|| Error::Headers("lengths that do not fit".into()))
    }

    fn inflate(&mut self, mut block: &[u8]) -> io::Result<Vec<u8>> {
        let mut inflated = vec![0; MOST_HEADERS];
        let mut filled = 0;
        while !block.is_empty() {
            let (read, written) = (self.0.total_in(), self.0.total_out());
            let room = &mut inflated[filled..];
            let result = self.0.decompress(block, room, FlushDecompress::Sync);
            block = &block[count(self.0.total_in() - read)..];
            let grown = count(self.0.total_out() - written);
            filled += grown;
            match result {
                Ok(Status::Ok) if grown > 0 || block.is_empty() => {}
                Ok(_) => return Err(io::Error::other("they end early, or are too long")),
                Err(error) if error.needs_dictionary().is_some() => {
                    self.0.set_dictionary(&dictionary())?;
                }
                Err(error) => return Err(error.into()),
            }
        }
        inflated.truncate(filled);
        Ok(inflated)
    }
}

/// A number of bytes of one block.
fn count(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

fn parse(mut bytes: &[u8]) -> Option<Vec<(String, String)>> {
    let count = bytes.try_get_u32().ok()?;
    let mut headers = Vec::new();
    for _ in 0..count {
        headers.push((text(&mut bytes)?, text(&mut bytes)?));
    }
    bytes.is_empty().then_some(headers)
}

fn text(bytes: &mut &[u8]) -> Option<String> {
    let length = usize::try_from(bytes.try_get_u32().ok()?).ok()?;
    let (text, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    String::from_utf8(text.to_vec()).ok()
}

#[cfg(test)]
pub(super) mod tests {
    use flate2::{Compress, Compression, FlushCompress};

    use super::*;

    /// Blocks of headers as a client compresses them.
    pub(in super::super) fn deflated(heads: &[&[(&str, &str)]]) -> Vec<Vec<u8>> {
        let mut compress = Compress::new(Compression::best(), true);
        compress.set_dictionary(&dictionary()).unwrap();
        let size = |length: usize| u32::try_from(length).unwrap().to_be_bytes();
        let blocks = heads.iter().map(|headers| {
            let mut plain = size(headers.len()).to_vec();
            for text in headers.iter().flat_map(|(name, value)| [name, value]) {
                plain.extend_from_slice(&size(text.len()));
                plain.extend_from_slice(text.as_bytes());
            }
            let mut block = Vec::with_capacity(64 * 1024);
            compress
                .compress_vec(&plain, &mut block, FlushCompress::Sync)
                .unwrap();
            block
        });
        blocks.collect()
    }

    #[test]
    fn the_dictionary_is_that_of_the_protocol() {
        // Its checksum stands in every first block, after the two bytes of zlib.
        assert_eq!(dictionary().len(), 1423);
        let blocks = deflated(&[&[("port", "80")]]);
        assert_eq!(blocks[0][2..6], [0xe3, 0xc6, 0xa7, 0xc2]);
    }

    #[test]
    fn blocks_that_grow_beyond_the_limit_are_refused() {
        let long = "x".repeat(MOST_HEADERS);
        let blocks = deflated(&[&[("a", &long)]]);
        assert!(blocks[0].len() < 200);
        assert!(Inflater::new().headers(&blocks[0]).is_err());
    }

    #[test]
    fn lengths_that_do_not_fit_are_refused() {
        for bytes in [
            &b"\0\0\0\x01"[..],
            b"\0\0\0\x01\0\0\0\xffab",
            b"\0\0\0\0x",
            b"\xff\xff\xff\xff",
        ] {
            assert_eq!(parse(bytes), None, "{bytes:?}");
        }
    }
}

//! Public keys: reading them, their fingerprint, and making a pair where the client did not bring one.

use base64::prelude::{BASE64_STANDARD, Engine};
use ring::rand::{SecureRandom, SystemRandom};
use ring::signature::{Ed25519KeyPair, KeyPair};

/// The kinds of keys that OpenSSH has.
const KINDS: [&str; 8] = [
    "ssh-rsa",
    "ssh-dss",
    "ssh-ed25519",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "sk-ssh-ed25519@openssh.com",
    "sk-ecdsa-sha2-nistp256@openssh.com",
];

/// Reads Base64 with padding; line breaks are let pass, as the service does.
#[must_use]
pub fn decode(text: &str) -> Option<Vec<u8>> {
    let symbols: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    BASE64_STANDARD.decode(symbols).ok()
}

fn field<'a>(blob: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, rest) = blob.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
    let field = rest.get(..length)?;
    *blob = &rest[length..];
    Some(field)
}

/// The fingerprint of a public key as `ssh-keygen -E md5` prints it; `None` if it is not a public key.
#[must_use]
pub fn fingerprint(public_key: &str) -> Option<String> {
    let mut parts = public_key.split_whitespace();
    let (kind, text) = (parts.next()?, parts.next()?);
    let blob = decode(text)?;
    let mut rest = blob.as_slice();
    let named = field(&mut rest)?;
    let whole = named == kind.as_bytes() && KINDS.contains(&kind) && field(&mut rest).is_some();
    let hash = md5(&blob).map(|byte| format!("{byte:02x}"));
    whole.then(|| hash.join(":"))
}

/// MD5, RFC 1321: OpenStack's fingerprints are still made with it.
#[must_use]
pub fn md5(message: &[u8]) -> [u8; 16] {
    const SHIFTS: [[u32; 4]; 4] = [[7, 12, 17, 22], [5, 9, 14, 20], [4, 11, 16, 23], [6, 10, 15, 21]];
    let mut padded = message.to_vec();
    padded.push(0x80);
    while padded.len() % 64 != 56 {
        padded.push(0);
    }
    padded.extend((message.len() as u64 * 8).to_le_bytes());
    let mut hash = [0x6745_2301_u32, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476];
    for block in padded.chunks(64) {
        let words: Vec<u32> =
            block.chunks(4).map(|word| word.iter().rev().fold(0, |word, byte| word << 8 | u32::from(*byte))).collect();
        let [mut a, mut b, mut c, mut d] = hash;
        for step in 0..64_usize {
            let (mix, word) = match step / 16 {
                0 => (b & c | !b & d, step),
                1 => (d & b | !d & c, (5 * step + 1) % 16),
                2 => (b ^ c ^ d, (3 * step + 5) % 16),
                _ => (c ^ (b | !d), 7 * step % 16),
            };
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the algorithm's constants")]
            let constant = (((step + 1) as f64).sin().abs() * 4_294_967_296.0) as u32;
            let sum = a.wrapping_add(mix).wrapping_add(constant).wrapping_add(words[word]);
            a = d;
            d = c;
            c = b;
            b = b.wrapping_add(sum.rotate_left(SHIFTS[step / 16][step % 4]));
        }
        for (part, add) in hash.iter_mut().zip([a, b, c, d]) {
            *part = part.wrapping_add(add);
        }
    }
    let mut bytes = [0; 16];
    for (place, part) in hash.iter().enumerate() {
        bytes[place * 4..place * 4 + 4].copy_from_slice(&part.to_le_bytes());
    }
    bytes
}

fn put(blob: &mut Vec<u8>, field: &[u8]) {
    blob.extend(u32::try_from(field.len()).unwrap_or_default().to_be_bytes());
    blob.extend_from_slice(field);
}

/// A new pair: the private key as OpenSSH keeps it, and the public key's line.
#[must_use]
pub fn generate() -> Option<(String, String)> {
    let mut seed = [0; 32];
    SystemRandom::new().fill(&mut seed).ok()?;
    let pair = Ed25519KeyPair::from_seed_unchecked(&seed).ok()?;
    let public = pair.public_key().as_ref();
    let mut blob = Vec::new();
    put(&mut blob, b"ssh-ed25519");
    put(&mut blob, public);
    let mut secret = vec![0x4e, 0x6f, 0x76, 0x61, 0x4e, 0x6f, 0x76, 0x61];
    secret.extend_from_slice(&blob);
    put(&mut secret, &[seed.as_slice(), public].concat());
    put(&mut secret, b"Generated-by-Nova");
    let padding = (8 - secret.len() % 8) % 8;
    secret.extend((1..=8).take(padding));
    let mut file = b"openssh-key-v1\0".to_vec();
    for empty in [b"none".as_slice(), b"none", b""] {
        put(&mut file, empty);
    }
    file.extend(1_u32.to_be_bytes());
    put(&mut file, &blob);
    put(&mut file, &secret);
    let text = BASE64_STANDARD.encode(&file);
    let lines: Vec<&str> =
        (0..text.len()).step_by(70).map(|start| &text[start..(start + 70).min(text.len())]).collect();
    let private =
        format!("-----BEGIN OPENSSH PRIVATE KEY-----\n{}\n-----END OPENSSH PRIVATE KEY-----\n", lines.join("\n"));
    Some((private, format!("ssh-ed25519 {} Generated-by-Nova", BASE64_STANDARD.encode(&blob))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fingerprints_are_those_of_ssh_keygen() {
        let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIMQAp+RrWrxxnt+TxWkWj4TAxoWptUC0WFwvPoIoaWSU me@host";
        assert_eq!(fingerprint(key).unwrap(), "3a:a0:00:bf:ca:7e:76:e0:84:9a:05:7e:1a:a1:64:87");
        for bad in ["", "ssh-rsa bad", "ssh-rsa AAAAC3NzaC1lZDI1NTE5AAAAIMQAp+RrWrxxnt+TxWkWj4TAxoWptUC0WFwvPoIoaWSU"] {
            assert_eq!(fingerprint(bad), None, "{bad}");
        }
    }

    #[test]
    fn base64_goes_there_and_back() {
        for text in ["", "a", "ab", "abc", "abcd"] {
            assert_eq!(decode(&BASE64_STANDARD.encode(text)).unwrap(), text.as_bytes());
        }
        assert_eq!(decode("not base64!!"), None);
    }

    #[test]
    fn a_made_key_has_a_fingerprint() {
        let (private, public) = generate().unwrap();
        assert!(private.starts_with("-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjE"));
        assert!(fingerprint(&public).is_some());
    }
}

//! What makes a copy of the template a server: a script that the guest reads over `fw_cfg` and runs once.
//!
//! In: name, key, user data. Out: a file of [`LENGTH`] bytes.
//!
//! Invariants:
//! - Its length is always the same: the template was saved with the length of the file that it waited on.
//! - Each text of a server's is one word of the shell, whatever is in it.

use super::Error;

/// The file's length. The longest user data takes half of it.
const LENGTH: usize = 128 * 1024;

/// What a guest is told at its first boot.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Identity {
    /// Its own name for itself.
    pub hostname: String,
    /// The image that the server was made from, by name.
    pub image: String,
    /// The line for `authorized_keys`; empty without a keypair.
    pub authorized: String,
    /// User data that is a script, in Base64.
    pub script: Option<String>,
}

impl Identity {
    /// The file, for a guest that comes up at `seconds` since 1970; `seed` is of random letters, another one for each.
    ///
    /// # Errors
    /// When the texts are longer than the file.
    pub fn file(&self, seconds: i64, seed: &str) -> Result<Vec<u8>, Error> {
        padded(self.script(seconds, seed))
    }

    /// The file that has the template wait.
    ///
    /// # Errors
    /// None; the line is shorter than the file.
    pub fn wait() -> Result<Vec<u8>, Error> {
        padded("#wait\n".to_owned())
    }

    fn script(&self, seconds: i64, seed: &str) -> String {
        let (hostname, image, authorized) = (quote(&self.hostname), quote(&self.image), quote(&self.authorized));
        let seed = quote(seed);
        // All copies of a template have the same random numbers before them, until each is told other ones:
        // 0x5207 (RNDRESEEDCRNG) has the kernel use what was written.
        let mut script = format!(
            r#"#go
date -s @{seconds} >/dev/null
perl -e 'open F, "+>", "/dev/random"; syswrite F, $ARGV[0]; ioctl F, 0x5207, 0' {seed}
echo {hostname} >/etc/hostname
hostname {hostname}
printf '127.0.0.1 localhost\n127.0.1.1 %s\n' {hostname} >/etc/hosts
echo {image} >/etc/anole-image
systemd-id128 new >/etc/machine-id
install -d -m 700 -o cc -g cc /home/cc/.ssh
printf '%s\n' {authorized} >/home/cc/.ssh/authorized_keys
chown cc:cc /home/cc/.ssh/authorized_keys
chmod 600 /home/cc/.ssh/authorized_keys
rm -f /etc/ssh/ssh_host_*
ssh-keygen -q -t ed25519 -N '' -f /etc/ssh/ssh_host_ed25519_key
{{
  echo '-----BEGIN SSH HOST KEY KEYS-----'
  cat /etc/ssh/ssh_host_ed25519_key.pub
  echo '-----END SSH HOST KEY KEYS-----'
}} >/dev/console
"#
        );
        if let Some(data) = &self.script {
            let data = quote(data);
            script.push_str(&format!(
                "mkdir -p /var/lib/anole\nprintf %s {data} | base64 -d >/var/lib/anole/user-data\n\
                 chmod 700 /var/lib/anole/user-data\nsystemctl start --no-block anole-user-data.service\n"
            ));
        }
        script
    }
}

fn padded(script: String) -> Result<Vec<u8>, Error> {
    let mut bytes = script.into_bytes();
    if bytes.len() > LENGTH {
        return Err(Error::Identity { length: bytes.len() });
    }
    bytes.resize(LENGTH, 0);
    Ok(bytes)
}

/// The text as one word of the shell.
pub fn quote(text: &str) -> String {
    // A zero byte ends what the guest reads.
    format!("'{}'", text.replace('\0', "").replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn every_text_is_one_word_of_the_shell() {
        for text in ["plain", "", "it's", "$(id) `id` \"x\" \\ ; & | > < * ~", "two\nlines", "'''", "-n"] {
            let shown = Command::new("sh").arg("-c").arg(format!("printf %s {}", quote(text))).output().unwrap();
            assert_eq!(String::from_utf8(shown.stdout).unwrap(), text);
        }
    }

    #[test]
    fn the_script_is_one_whatever_the_server_is_called() {
        let evil = Identity {
            hostname: "a'; touch /tmp/x; '".to_owned(),
            image: "$(reboot)".to_owned(),
            authorized: "ssh-ed25519 AAAA it's \"me\"".to_owned(),
            script: Some("IyEvYmluL3NoCg==".to_owned()),
        };
        for identity in [evil, Identity::default()] {
            let file = identity.file(1_700_000_000, "seed").unwrap();
            assert_eq!(file.len(), LENGTH);
            assert!(file.starts_with(b"#go\n"));
            let script = String::from_utf8(file.split(|byte| *byte == 0).next().unwrap().to_vec()).unwrap();
            let checked = Command::new("bash").args(["-n", "-c", &script]).output().unwrap();
            assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
            assert!(script.contains("\n  echo '-----BEGIN SSH HOST KEY KEYS-----'\n"));
        }
        assert!(Identity::wait().unwrap().starts_with(b"#wait\n\0"));
    }

    #[test]
    fn the_longest_user_data_fits_and_no_more() {
        let with = |length| Identity { script: Some("A".repeat(length)), ..Identity::default() }.file(0, "");
        assert!(with(65_535).is_ok());
        assert!(with(LENGTH).is_err());
    }
}

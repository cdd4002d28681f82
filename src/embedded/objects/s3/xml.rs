//! XML as S3 has it: written as text, read into a small tree.

use quick_xml::Reader;
use quick_xml::escape::{escape, resolve_xml_entity};
use quick_xml::events::Event;

use crate::embedded::objects::refusal::Refusal;

/// The namespace of S3's documents.
pub const NAMESPACE: &str = "http://s3.amazonaws.com/doc/2006-03-01/";

/// No document nests deeper.
const DEEPEST: usize = 16;

/// A document that is written.
#[derive(Debug)]
pub struct Xml {
    text: String,
    open: Vec<&'static str>,
}

impl Xml {
    /// A document with that root, in S3's namespace.
    #[must_use]
    pub fn new(root: &'static str) -> Self {
        let text = format!(r#"<?xml version="1.0" encoding="UTF-8"?><{root} xmlns="{NAMESPACE}">"#);
        Self { text, open: vec![root] }
    }

    /// A document with that root, in no namespace.
    #[must_use]
    pub fn plain(root: &'static str) -> Self {
        let text = format!(r#"<?xml version="1.0" encoding="UTF-8"?><{root}>"#);
        Self { text, open: vec![root] }
    }

    /// Opens an element.
    pub fn open(&mut self, name: &'static str) -> &mut Self {
        self.text.push_str(&format!("<{name}>"));
        self.open.push(name);
        self
    }

    /// Opens an element with attributes, written out.
    pub fn open_with(&mut self, name: &'static str, attributes: &str) -> &mut Self {
        self.text.push_str(&format!("<{name} {attributes}>"));
        self.open.push(name);
        self
    }

    /// Closes the element that was opened last.
    pub fn close(&mut self) -> &mut Self {
        if let Some(name) = self.open.pop() {
            self.text.push_str(&format!("</{name}>"));
        }
        self
    }

    /// An element with a text.
    pub fn leaf(&mut self, name: &'static str, text: impl AsRef<str>) -> &mut Self {
        self.text.push_str(&format!("<{name}>{}</{name}>", escape(text.as_ref())));
        self
    }

    /// The document.
    #[must_use]
    pub fn finish(mut self) -> String {
        while !self.open.is_empty() {
            self.close();
        }
        self.text
    }
}

/// An element that was read, without its namespace.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Node {
    /// Its name.
    pub name: String,
    /// Its attributes, without their namespace.
    pub attributes: Vec<(String, String)>,
    /// The text directly in it.
    pub text: String,
    /// The elements in it.
    pub children: Vec<Node>,
}

impl Node {
    /// Reads a document whose root has that name.
    ///
    /// # Errors
    /// `MalformedXML`.
    pub fn read(bytes: &[u8], root: &str) -> Result<Self, Refusal> {
        let node = parse(bytes).filter(|node| node.name == root);
        node.ok_or_else(|| Refusal::new("MalformedXML"))
    }

    /// The elements of that name.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Self> {
        self.children.iter().filter(move |child| child.name == name)
    }

    /// The first element of that name.
    #[must_use]
    pub fn child(&self, name: &str) -> Option<&Self> {
        self.children.iter().find(|child| child.name == name)
    }

    /// The text of the first element of that name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.child(name).map(|child| child.text.as_str())
    }

    /// The texts of the elements of that name.
    #[must_use]
    pub fn texts(&self, name: &str) -> Vec<String> {
        self.all(name).map(|child| child.text.clone()).collect()
    }
}

fn parse(bytes: &[u8]) -> Option<Node> {
    let mut reader = Reader::from_reader(bytes);
    let mut stack: Vec<Node> = Vec::new();
    loop {
        match reader.read_event().ok()? {
            Event::Start(start) => {
                if stack.len() >= DEEPEST {
                    return None;
                }
                stack.push(element(&start)?);
            }
            Event::Empty(start) => {
                let node = element(&start)?;
                match stack.last_mut() {
                    Some(parent) => parent.children.push(node),
                    None => return Some(node),
                }
            }
            Event::Text(text) => {
                if let Some(node) = stack.last_mut() {
                    node.text.push_str(&text.decode().ok()?);
                }
            }
            Event::CData(text) => {
                if let Some(node) = stack.last_mut() {
                    node.text.push_str(&text.decode().ok()?);
                }
            }
            Event::GeneralRef(reference) => {
                let node = stack.last_mut()?;
                match reference.resolve_char_ref().ok()? {
                    Some(char) => node.text.push(char),
                    None => node.text.push_str(resolve_xml_entity(&reference.decode().ok()?)?),
                }
            }
            Event::End(_) => {
                let mut node = stack.pop()?;
                if !node.children.is_empty() {
                    node.text.clear();
                }
                match stack.last_mut() {
                    Some(parent) => parent.children.push(node),
                    None => return Some(node),
                }
            }
            // What a document type declares could not be trusted.
            Event::DocType(_) | Event::Eof => return None,
            Event::Decl(_) | Event::PI(_) | Event::Comment(_) => {}
        }
    }
}

fn element(start: &quick_xml::events::BytesStart<'_>) -> Option<Node> {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).ok();
    let mut attributes = Vec::new();
    for attribute in start.attributes() {
        let attribute = attribute.ok()?;
        attributes.push((text(attribute.key.local_name().as_ref())?, text(&attribute.value)?));
    }
    Some(Node { name: text(start.local_name().as_ref())?, attributes, ..Node::default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_can_be_read() {
        let mut xml = Xml::new("Delete");
        xml.open("Object").leaf("Key", "a<b>&\"c' é").leaf("VersionId", "").close().leaf("Quiet", "true");
        let text = xml.finish();
        assert!(
            text.starts_with(r#"<?xml version="1.0" encoding="UTF-8"?><Delete xmlns="http://s3.amazonaws.com/doc/"#)
        );
        let node = Node::read(text.as_bytes(), "Delete").unwrap();
        let object = node.child("Object").unwrap();
        assert_eq!(object.get("Key"), Some("a<b>&\"c' é"));
        assert_eq!((object.get("VersionId"), node.get("Quiet"), node.get("No")), (Some(""), Some("true"), None));
        let spaced = Node::read(b"<a>\n <b> x&#65;&amp; </b>\n</a>", "a").unwrap();
        assert_eq!((spaced.get("b"), spaced.text.as_str()), (Some(" xA& "), ""));
        for bad in ["", "junk", "<Delete>", "<Other/>", "<Delete>&no;</Delete>", "<!DOCTYPE x><Delete/>"] {
            assert_eq!(Node::read(bad.as_bytes(), "Delete").unwrap_err().code, "MalformedXML", "{bad}");
        }
    }
}

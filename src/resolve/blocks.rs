//! Turns each instance of each block into a resource, and its parts.

use std::collections::{BTreeMap, BTreeSet};

use super::decode::{Decoder, with_defaults};
use super::instances::Instances;
use super::text::{self, Each, Scope, Text};
use super::{Inputs, Need, Resource, needs};
use crate::diagnostic::{Diagnostic, Diagnostics, Span};
use crate::kinds::guest::SERVER;
use crate::kinds::kind::{DerivedPart, Mistake};
use crate::kinds::schema::{NameRule, RefChange, Until};
use crate::kinds::{self, Kind};
use crate::model::{Address, Fields, InstanceKey, Part, SiteAlias, Target, Value};
use crate::spec::{Block, Node, Spanned, Spec, Yaml};
use crate::suggest;

/// Builds resources from blocks.
pub struct Builder<'a> {
    spec: &'a Spec,
    inputs: &'a Inputs<'a>,
    instances: &'a Instances,
    diagnostics: &'a mut Diagnostics,
}

impl<'a> Builder<'a> {
    pub fn new(
        spec: &'a Spec,
        inputs: &'a Inputs<'a>,
        instances: &'a Instances,
        diagnostics: &'a mut Diagnostics,
    ) -> Self {
        Self { spec, inputs, instances, diagnostics }
    }

    /// All resources, and the renames that blocks ask for.
    pub fn resources(&mut self) -> (BTreeMap<Address, Resource>, Vec<(Address, Address)>) {
        let mut resources = BTreeMap::new();
        let mut renames = Vec::new();
        for block in &self.spec.blocks {
            let Some(kind) = block.kind() else { continue };
            let instances = self.instances.addresses.get(&block.address).cloned().unwrap_or_default();
            if instances.is_empty() {
                // Nothing is made of it, but its mistakes count all the same.
                let each = Each { key: InstanceKey::Index(0), value: Value::text("") };
                self.build(block, kind, &block.address, Some(&each));
                continue;
            }
            for address in &instances {
                let each = self.instances.each.get(address);
                for resource in self.build(block, kind, address, each) {
                    resources.insert(resource.address.clone(), resource);
                }
            }
            if let Some(was) = &block.was {
                renames.extend(instances.iter().map(|to| (renamed_from(&was.value, to), to.clone())));
            }
        }
        place_parts(&mut resources);
        place_with(&mut resources, self.spec);
        (resources, renames)
    }

    /// The outputs, with what is known put in.
    pub fn outputs(&mut self) -> BTreeMap<String, Value> {
        let mut outputs = BTreeMap::new();
        for (name, node) in &self.spec.outputs {
            let scope = self.scope(None, None, None);
            match output(node, &scope) {
                Ok(value) => {
                    outputs.insert(name.clone(), value);
                }
                Err(error) => self.diagnostics.push(error),
            }
        }
        outputs
    }

    fn scope<'s>(&'s self, site: Option<&'s SiteAlias>, key: Option<&'s str>, each: Option<&'s Each>) -> Scope<'s> {
        Scope {
            spec: self.spec,
            instances: &self.instances.addresses,
            variables: self.inputs.variables,
            env: self.inputs.env,
            identity: site.and_then(|site| self.inputs.identities.get(site)),
            site: site.map(|site| site.0.as_str()),
            key,
            each,
        }
    }

    fn build(
        &mut self,
        block: &Block,
        kind: &'static dyn Kind,
        address: &Address,
        each: Option<&Each>,
    ) -> Vec<Resource> {
        let schema = kind.schema();
        let site = self.site(block, kind, each);
        let key = block.address.name.clone();
        let what = schema.named();
        let (spec, inputs, instances) = (self.spec, self.inputs, self.instances);
        let scope = Scope {
            spec,
            instances: &instances.addresses,
            variables: inputs.variables,
            env: inputs.env,
            identity: site.as_ref().and_then(|site| inputs.identities.get(site)),
            site: site.as_ref().map(|site| site.0.as_str()),
            key: Some(&key),
            each,
        };
        let mut decoder =
            Decoder { scope, files: inputs.files, write_only: false, failed: false, diagnostics: self.diagnostics };
        // `name` is taken from the block; its table entry is for the differ, so it is not missing here.
        let (mut fields, unread) = decoder.read(&block.fields, schema.fields, &what, block.name_span);
        if let (Some(ssh), Some(field)) = (&self.spec.default_ssh, schema.field("ssh")) {
            let defaults = decoder.value(ssh, &field.ty);
            with_default_ssh(&mut fields, defaults);
        }
        let adopt = block.adopt.as_ref().and_then(|adopt| self.words(adopt, &scope));
        if let Some(name) = self.name(block, kind, address, &scope, &fields) {
            fields.insert("name".to_owned(), Value::text(name));
        }
        let mistakes = check(kind, address, &mut fields, &unread);
        let field_spans: BTreeMap<String, Span> =
            block.fields.iter().map(|(key, node)| (key.text.clone(), node.span)).collect();
        for mistake in mistakes {
            let span = field_spans.get(mistake.field).copied().unwrap_or(block.name_span);
            let mut error = Diagnostic::error("bad-value", span, mistake.message);
            error.help = mistake.help;
            self.diagnostics.push(error);
        }
        self.check_ignored(block, kind);
        self.check_length(block, address);
        let Some(site) = site else { return Vec::new() };
        let mut parts = kind.derive(address, &mut fields);
        if adopt.is_some() {
            // It has the name that it has, and what it was made with.
            if block.name.is_none() {
                fields.remove("name");
            }
            drop_made_first(address, &mut fields, &mut parts);
        }
        let mut resources = vec![Resource {
            address: address.clone(),
            kind: schema.kind,
            site: site.clone(),
            needs: needs::of_fields(schema, &fields),
            fields,
            protect: block.protect,
            adopt,
            ignore_changes: block.ignore_changes.iter().map(|field| field.value.clone()).collect(),
            span: block.name_span,
            field_spans,
        }];
        resources[0].needs.extend(self.depends_on(block));
        for part in parts {
            let Some(part_kind) = kinds::by_name(part.kind) else { continue };
            let fields = with_defaults(part.fields, part_kind.schema().fields);
            resources.push(Resource {
                address: address.with_part(part.part),
                kind: part.kind,
                site: site.clone(),
                needs: needs::of_fields(part_kind.schema(), &fields),
                fields,
                protect: None,
                adopt: None,
                ignore_changes: Vec::new(),
                span: block.name_span,
                field_spans: BTreeMap::new(),
            });
        }
        resources
    }

    fn site(&mut self, block: &Block, kind: &'static dyn Kind, each: Option<&Each>) -> Option<SiteAlias> {
        let named = match (&block.site, &self.spec.default_site) {
            (Some(site), _) => {
                let scope = self.scope(None, Some(&block.address.name), each);
                let text = text::read_static(&site.value, site.span, &scope);
                let text = text.map_err(|error| self.diagnostics.push(error)).ok()?;
                Some((SiteAlias(text.as_str()?.to_owned()), site.span))
            }
            (None, Some(default)) => Some((default.value.clone(), default.span)),
            (None, None) => None,
        };
        let sites = &self.spec.sites;
        match named {
            Some((alias, span)) if !sites.contains_key(&alias) => {
                let mut error = Diagnostic::error("unknown-site", span, format!("no site `{alias}` is declared"));
                error.help = suggest::did_you_mean(&alias.0, sites.keys().map(|alias| alias.0.as_str()));
                self.diagnostics.push(error);
                None
            }
            Some((alias, _)) => Some(alias),
            None if sites.len() == 1 || (!sites.is_empty() && !kind.is_on_a_site()) => sites.keys().next().cloned(),
            None if sites.is_empty() => Some(SiteAlias("default".to_owned())),
            None => {
                let names = sites.keys().map(|alias| alias.0.as_str()).collect::<Vec<_>>().join("`, `");
                self.diagnostics.push(
                    Diagnostic::error(
                        "which-site",
                        block.name_span,
                        format!("{} does not say on which site", block.address),
                    )
                    .help(format!("add `site:` to it, or to `defaults`; the sites are `{names}`")),
                );
                None
            }
        }
    }

    fn words(&mut self, text: &Spanned<String>, scope: &Scope<'_>) -> Option<String> {
        match text::read_static(&text.value, text.span, scope) {
            Ok(Value::String(text)) => Some(text),
            Ok(Value::Int(number)) => Some(number.to_string()),
            Ok(_) => {
                self.diagnostics.push(Diagnostic::error("wrong-type", text.span, "expected text"));
                None
            }
            Err(error) => {
                self.diagnostics.push(error);
                None
            }
        }
    }

    /// The object's name: the block's, or the default with the instance's key behind it.
    fn name(
        &mut self,
        block: &Block,
        kind: &'static dyn Kind,
        address: &Address,
        scope: &Scope<'_>,
        fields: &Fields,
    ) -> Option<String> {
        let schema = kind.schema();
        if schema.name == NameRule::None {
            if let Some(name) = &block.name {
                let what = schema.named();
                self.diagnostics.push(Diagnostic::error("unknown-field", name.span, format!("{what} has no name")));
            }
            return None;
        }
        if let Some(name) = &block.name {
            return self.words(name, scope);
        }
        if schema.name == NameRule::Required {
            let what = schema.named();
            self.diagnostics.push(
                Diagnostic::error("missing-field", block.name_span, format!("{what} needs `name`"))
                    .help("its name is the site's, not the stack's, so none is made up"),
            );
            return None;
        }
        if let Some(name) = kind.own_name(&block.address.name, fields) {
            return Some(name);
        }
        let default = match self.spec.default_name.clone() {
            Some(default) => self.words(&default, scope)?,
            None => format!("{}-{}", self.spec.stack.value, block.address.name),
        };
        let says_which =
            |default: &Spanned<String>| ["${index}", "${each."].iter().any(|word| default.value.contains(word));
        Some(match &address.instance {
            Some(instance) if !self.spec.default_name.as_ref().is_some_and(says_which) => {
                format!("{default}-{instance}")
            }
            _ => default,
        })
    }

    fn check_ignored(&mut self, block: &Block, kind: &'static dyn Kind) {
        let schema = kind.schema();
        for ignored in &block.ignore_changes {
            if schema.field(&ignored.value).is_none() {
                let what = schema.named();
                let text = format!("{what} has no field `{}`", ignored.value);
                let mut error = Diagnostic::error("unknown-field", ignored.span, text);
                error.help = suggest::did_you_mean(&ignored.value, schema.fields.iter().map(|field| field.name));
                self.diagnostics.push(error);
            }
        }
    }

    /// The stamp on an object holds the stack's name and the address, and must fit into a field of 255 characters with
    /// the user's own description and a part's name beside it.
    fn check_length(&mut self, block: &Block, address: &Address) {
        const MOST: usize = 120;
        let length = self.spec.stack.value.len() + address.to_string().len();
        if length > MOST {
            let text =
                format!("`{address}` and the stack's name have {length} characters together; {MOST} is the most");
            let error = Diagnostic::error("too-long", block.name_span, text);
            self.diagnostics.push(error.help("shorten the block's name, its instances' keys, or the stack's name"));
        }
    }

    fn depends_on(&mut self, block: &Block) -> Vec<Need> {
        let mut needs = Vec::new();
        for other in &block.depends_on {
            let all = self.instances.addresses.get(&other.value.block());
            let meant: Vec<_> =
                all.into_iter().flatten().filter(|address| other.value.covers(address)).cloned().collect();
            if meant.is_empty() {
                let mut error = Diagnostic::error(
                    "unknown-reference",
                    other.span,
                    format!("the spec declares no `{}`", other.value),
                );
                let blocks: Vec<String> = self.instances.addresses.keys().map(ToString::to_string).collect();
                error.help = suggest::did_you_mean(&other.value.to_string(), blocks.iter().map(String::as_str));
                self.diagnostics.push(error);
            }
            needs.extend(meant.into_iter().map(|address| Need {
                address,
                change: RefChange::Order,
                until: Until::Ready,
            }));
        }
        needs
    }
}

/// What is put into a server by way of a part is where the server is, unless it holds on to its owner: a credential of one
/// site may be written to a server of another.
fn place_parts(resources: &mut BTreeMap<Address, Resource>) {
    let sites: BTreeMap<Address, SiteAlias> =
        resources.values().map(|resource| (resource.address.clone(), resource.site.clone())).collect();
    for resource in resources.values_mut() {
        let Some(owner) = resource.address.owner() else { continue };
        let (mut server, mut holds_owner) = (None, false);
        for (field, value) in &resource.fields {
            value.visit_refs(&mut |reference| {
                if let Target::Resource(target) = &reference.target {
                    holds_owner |= *target == owner;
                    if field == SERVER {
                        server = sites.get(target);
                    }
                }
            });
        }
        if kinds::by_name(resource.kind).and_then(Kind::guest).is_some()
            && let Some(site) = server.filter(|_| !holds_owner)
        {
            resource.site = site.clone();
        }
    }
}

/// What stands with another is on that one's site, unless its block says on which.
fn place_with(resources: &mut BTreeMap<Address, Resource>, spec: &Spec) {
    let sites: BTreeMap<Address, SiteAlias> =
        resources.values().map(|resource| (resource.address.clone(), resource.site.clone())).collect();
    let says: BTreeSet<&Address> =
        spec.blocks.iter().filter(|block| block.site.is_some()).map(|block| &block.address).collect();
    for resource in resources.values_mut() {
        let Some(field) = kinds::by_name(resource.kind).and_then(|kind| kind.stands_with()) else { continue };
        let Some(Value::Template(template)) = resource.fields.get(field) else { continue };
        let named = template.0.iter().find_map(|part| match part {
            Part::Attribute { address, .. } => sites.get(address),
            Part::Text(_) => None,
        });
        if let Some(site) = named.filter(|_| !says.contains(&resource.address.block())) {
            resource.site = site.clone();
        }
    }
}

/// What is wrong with a block besides what its fields' types show. A field that could not be read is told already: it counts
/// as one whose value is not known yet, so that the others are checked beside it.
fn check(kind: &dyn Kind, address: &Address, fields: &mut Fields, unread: &BTreeSet<&'static str>) -> Vec<Mistake> {
    let mut mistakes = Vec::new();
    if unread.is_empty() {
        kind.check(fields, &mut mistakes);
        return mistakes;
    }
    let mut checked = fields.clone();
    checked.extend(unread.iter().map(|name| ((*name).to_owned(), Value::Unknown(address.clone()))));
    kind.check(&mut checked, &mut mistakes);
    mistakes.retain(|mistake| !unread.contains(mistake.field));
    mistakes
}

/// What a server's `ssh` leaves out is as the defaults say.
fn with_default_ssh(fields: &mut Fields, defaults: Option<Value>) {
    let Some(Value::Map(defaults)) = defaults else { return };
    let own = fields.entry("ssh".to_owned()).or_insert_with(|| Value::Map(Fields::new()));
    if let Value::Map(own) = own {
        for (key, value) in defaults {
            own.entry(key).or_insert(value);
        }
    }
}

/// `was: x` of a set means each instance of `x`; `was: x[0]` means that one.
fn renamed_from(was: &Address, to: &Address) -> Address {
    match (&was.instance, &to.instance) {
        (None, Some(instance)) => was.clone().instance(instance.clone()),
        _ => was.clone(),
    }
}

fn output(node: &Node, scope: &Scope<'_>) -> Result<Value, Diagnostic> {
    Ok(match &node.value {
        Yaml::String(raw) => match text::read(raw, node.span, scope)? {
            Text::Known(Value::Secret(secret)) => return Err(text::misplaced_secret(secret.source(), node.span)),
            Text::Known(value) => value,
            Text::Later(template) => Value::Template(template),
        },
        Yaml::List(items) => Value::List(items.iter().map(|item| output(item, scope)).collect::<Result<_, _>>()?),
        Yaml::Map(entries) => Value::Map(
            entries
                .iter()
                .map(|(key, value)| Ok((key.text.clone(), output(value, scope)?)))
                .collect::<Result<_, _>>()?,
        ),
        Yaml::Null => Value::Null,
        Yaml::Bool(flag) => Value::Bool(*flag),
        Yaml::Int(number) => Value::Int(*number),
        Yaml::Float(number) => Value::text(number.to_string()),
    })
}

/// Leaves out the parts that a resource is made with, and the fields that name them: one that was made elsewhere has its
/// own.
fn drop_made_first(owner: &Address, fields: &mut Fields, parts: &mut Vec<DerivedPart>) {
    let first = parts.extract_if(.., |part| part.before_owner);
    let dropped: Vec<Address> = first.map(|part| owner.with_part(part.part)).collect();
    fields.retain(|_, value| {
        let mut names = false;
        value.visit_refs(&mut |reference| {
            names |= matches!(&reference.target, Target::Resource(target) if dropped.contains(target));
        });
        !names
    });
}

//! Who may read and write: owners, grants, and Swift's lists of readers and writers.
//!
//! Invariant: a bucket's project may do everything with it and with what is in it. Nobody else may do anything, unless a
//! grant or a list says so.

use serde::{Deserialize, Serialize};

use super::docs::{Bucket, Version};
use super::refusal::Refusal;
use crate::embedded::catalogue::{project_name, user_by_id};

/// Everybody, in S3's grants.
pub const EVERYBODY: &str = "http://acs.amazonaws.com/groups/global/AllUsers";

/// Everybody who signed in.
pub const AUTHENTICATED: &str = "http://acs.amazonaws.com/groups/global/AuthenticatedUsers";

/// A project that owns something.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner(pub String);

impl Owner {
    /// The project of that id.
    #[must_use]
    pub fn project(id: &str) -> Self {
        Self(id.to_owned())
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &'static str {
        project_name(&self.0).unwrap_or_default()
    }
}

/// Who asks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Caller {
    /// The project; empty for somebody who did not sign in.
    pub project: String,
    /// The user.
    pub user: String,
}

impl Caller {
    /// Whether it signed in.
    #[must_use]
    pub fn is_known(&self) -> bool {
        !self.project.is_empty()
    }
}

/// What somebody may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Permission {
    /// Read an object, or list a bucket.
    #[serde(rename = "READ")]
    Read,
    /// Put and remove objects of a bucket.
    #[serde(rename = "WRITE")]
    Write,
    /// Read the grants.
    #[serde(rename = "READ_ACP")]
    ReadGrants,
    /// Change the grants.
    #[serde(rename = "WRITE_ACP")]
    WriteGrants,
    /// All of it.
    #[serde(rename = "FULL_CONTROL")]
    Full,
}

impl Permission {
    /// All, with their names.
    pub const ALL: [(Self, &'static str); 5] = [
        (Self::Read, "READ"),
        (Self::Write, "WRITE"),
        (Self::ReadGrants, "READ_ACP"),
        (Self::WriteGrants, "WRITE_ACP"),
        (Self::Full, "FULL_CONTROL"),
    ];

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(one, _)| *one == self).map_or("", |(_, name)| name)
    }

    /// The one of that name.
    #[must_use]
    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, one)| *one == name).map(|(one, _)| *one)
    }
}

/// To whom something is granted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Grantee {
    /// A project, by its id.
    Project(String),
    /// A group, by its URI.
    Group(String),
}

/// A grant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// To whom.
    pub to: Grantee,
    /// What.
    pub may: Permission,
}

impl Grant {
    fn covers(&self, caller: &Caller, wanted: Permission) -> bool {
        let person = match &self.to {
            Grantee::Project(id) => caller.is_known() && *id == caller.project,
            Grantee::Group(uri) => uri == EVERYBODY || (uri == AUTHENTICATED && caller.is_known()),
        };
        person && (self.may == wanted || self.may == Permission::Full)
    }
}

/// The grants of a canned ACL besides the owner's own.
///
/// # Errors
/// `InvalidArgument` if there is no such ACL.
pub fn canned(name: &str, bucket_owner: &str) -> Result<Vec<Grant>, Refusal> {
    let group = |uri: &str, may| Grant { to: Grantee::Group(uri.to_owned()), may };
    let owner = |may| Grant { to: Grantee::Project(bucket_owner.to_owned()), may };
    Ok(match name {
        "private" => Vec::new(),
        "public-read" => vec![group(EVERYBODY, Permission::Read)],
        "public-read-write" => vec![group(EVERYBODY, Permission::Read), group(EVERYBODY, Permission::Write)],
        "authenticated-read" => vec![group(AUTHENTICATED, Permission::Read)],
        "bucket-owner-read" => vec![owner(Permission::Read)],
        "bucket-owner-full-control" => vec![owner(Permission::Full)],
        _ => return Err(Refusal::new("InvalidArgument")),
    })
}

/// Whether Swift's list of readers or writers has the caller: `.r:*` is everybody, `project:user` with `*` for any.
fn listed(list: &str, caller: &Caller) -> bool {
    list.split(',').map(str::trim).any(|one| {
        if one == ".r:*" {
            return true;
        }
        let Some((project, user)) = one.split_once(':').filter(|_| caller.is_known()) else { return false };
        let name = project_name(&caller.project).unwrap_or_default();
        let user_name = user_by_id(&caller.user).map(|user| user.name).unwrap_or_default();
        (project == "*" || project == caller.project || project == name)
            && (user == "*" || user == caller.user || user == user_name)
    })
}

/// Lets the caller do something with a bucket.
///
/// # Errors
/// `AccessDenied`.
pub fn allow(bucket: &Bucket, caller: &Caller, wanted: Permission) -> Result<(), Refusal> {
    let own = caller.is_known() && bucket.project_id == caller.project;
    let granted = bucket.grants.iter().any(|grant| grant.covers(caller, wanted));
    let by_list = match wanted {
        Permission::Read => listed(&bucket.read, caller),
        Permission::Write => listed(&bucket.write, caller),
        Permission::ReadGrants | Permission::WriteGrants | Permission::Full => false,
    };
    if own || granted || by_list { Ok(()) } else { Err(Refusal::new("AccessDenied")) }
}

/// Lets the caller read an object or its grants. One who may not even list the bucket does not learn whether it is there.
///
/// # Errors
/// `AccessDenied`, or what kept the object from being found.
pub fn allow_object(
    bucket: &Bucket,
    found: Result<Version, Refusal>,
    caller: &Caller,
    wanted: Permission,
) -> Result<Version, Refusal> {
    let own = caller.is_known() && bucket.project_id == caller.project;
    match found {
        Ok(version) => {
            let granted = version.grants.iter().any(|grant| grant.covers(caller, wanted));
            let owned = caller.is_known() && version.owner.0 == caller.project;
            let by_list = wanted == Permission::Read && listed(&bucket.read, caller);
            if own || owned || granted || by_list { Ok(version) } else { Err(Refusal::new("AccessDenied")) }
        }
        Err(refusal) => {
            allow(bucket, caller, Permission::Read)?;
            Err(refusal)
        }
    }
}

//! The region that requests to a store by S3 are signed for.

use super::REGION;

/// A site's region as one that is signed for. S3's regions are in lower case, and Amazon's SDKs refuse names that could not
/// be part of a host's, such as `CHI@TACC`, before they send anything. Ceph takes requests that are signed for any region;
/// Swift those alone that are signed for its own, which is `us-east-1` unless somebody configured another, whatever the
/// site calls itself in Keystone.
#[must_use]
pub fn signing_region(region: &str) -> &str {
    let is_label = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let fits = (1..=63).contains(&region.len())
        && region.chars().all(is_label)
        && region.contains(|c: char| !c.is_ascii_digit())
        && !region.starts_with('-')
        && !region.ends_with('-');
    if fits { region } else { REGION }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sites_region_is_signed_for_where_it_can_be_one() {
        for (region, signed) in [
            ("eu-de", "eu-de"),
            ("CHI@TACC", REGION),
            ("", REGION),
            ("123", REGION),
            ("-a", REGION),
            ("RegionOne", REGION),
            ("us-south", "us-south"),
        ] {
            assert_eq!(signing_region(region), signed);
        }
    }
}

//! The programs whose logs are made: what they write, in which order, and what goes wrong.
//!
//! A profile is a table. A session walks its flow from top to bottom; now and then it says something aside, and
//! rarely it runs into one of its troubles, in which it ends.

mod auth;
mod database;
mod payment;
mod web;
mod worker;

use sluice_model::Severity;

/// One kind of program.
#[derive(Debug)]
pub(crate) struct Profile {
    /// Its name on the command line.
    pub(crate) name: &'static str,
    /// How many sessions are of this kind, against the other profiles.
    pub(crate) share: u32,
    /// What a session says when all goes well.
    pub(crate) flow: &'static [Line],
    /// What it may say in between.
    pub(crate) asides: &'static [Line],
    /// What may go wrong, the last of it very rarely.
    pub(crate) troubles: &'static [&'static [Line]],
}

/// One record to be: texts with values in them (see [`crate::template`]).
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) severity: Severity,
    pub(crate) service: &'static str,
    pub(crate) message: &'static str,
    /// The members of a JSON object.
    pub(crate) attributes: &'static str,
}

/// All profiles.
pub(crate) const PROFILES: [&Profile; 5] =
    [&web::PROFILE, &auth::PROFILE, &payment::PROFILE, &worker::PROFILE, &database::PROFILE];

const fn line(severity: Severity, service: &'static str, message: &'static str, attributes: &'static str) -> Line {
    Line { severity, service, message, attributes }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_profile_has_lines_of_every_severity() {
        for profile in PROFILES {
            let lines = || profile.flow.iter().chain(profile.asides).chain(profile.troubles.iter().copied().flatten());
            for severity in Severity::ALL {
                assert!(lines().any(|line| line.severity == severity), "{}: {severity:?}", profile.name);
            }
            assert!(lines().any(|line| line.message.contains("\n\t") || line.message.contains("\n  ")));
        }
    }
}

//! Sign-in: passwords, second factors, tokens, and those who try their luck.

use sluice_model::Severity::{Debug, Error, Fatal, Info, Trace, Warn};

use super::{Line, Profile, line};

pub(super) const PROFILE: Profile = Profile { name: "auth", share: 15, flow: FLOW, asides: ASIDES, troubles: TROUBLES };

const FLOW: &[Line] = &[
    line(
        Info,
        "auth",
        "login attempt for user $user from $ip",
        r#""user":{"id":$user,"country":"$country"},"client":{"ip":"$ip","agent":"$agent"},"session.id":"$session","trace_id":"$trace""#,
    ),
    line(
        Info,
        "auth",
        "second factor accepted for user $user in $ms ms",
        r#""user":{"id":$user},"mfa":{"method":"totp","attempts":$attempt},"duration_ms":$ms,"session.id":"$session","trace_id":"$trace""#,
    ),
    line(
        Info,
        "token-service",
        "issued token for session $session, valid 3600 s",
        r#""token":{"kind":"access","ttl_s":3600,"scopes":["read","write"]},"session.id":"$session","user":{"id":$user},"trace_id":"$trace""#,
    ),
    line(
        Info,
        "token-service",
        "refreshed token for session $session",
        r#""token":{"kind":"refresh","ttl_s":86400,"scopes":[]},"session.id":"$session","user":{"id":$user},"duration_ms":$ms"#,
    ),
    line(Info, "auth", "user $user logged out", r#""user":{"id":$user},"session.id":"$session","reason":null"#),
];

const ASIDES: &[Line] = &[
    line(
        Debug,
        "auth",
        "password hash verified in $ms ms (argon2id)",
        r#""hash":{"algorithm":"argon2id","memory_kib":19456},"duration_ms":$ms,"request_id":"$request""#,
    ),
    line(
        Debug,
        "token-service",
        "signing key $n rotated in $ms ms",
        r#""key":{"id":$n,"active":true},"duration_ms":$ms,"host":"$host""#,
    ),
    line(
        Debug,
        "auth",
        "session store lookup took $ms ms",
        r#""store":{"kind":"redis","hit":true},"duration_ms":$ms,"session.id":"$session""#,
    ),
    line(
        Trace,
        "auth",
        "claims checked: sub=$user aud=shop",
        r#""claims":{"sub":$user,"aud":"shop"},"thread":$thread"#,
    ),
];

const TROUBLES: &[&[Line]] = &[
    &[
        line(
            Warn,
            "auth",
            "wrong password for user $user from $ip, attempt $attempt",
            r#""user":{"id":$user},"client":{"ip":"$ip","country":"$country"},"attempt":$attempt,"trace_id":"$trace""#,
        ),
        line(
            Warn,
            "auth",
            "too many attempts: $ip is locked out for 300 s",
            r#""client":{"ip":"$ip"},"lockout_s":300,"trace_id":"$trace""#,
        ),
    ],
    &[
        line(
            Warn,
            "token-service",
            "key store answers slowly: $slow ms",
            r#""store":{"kind":"vault","hit":false},"duration_ms":$slow,"trace_id":"$trace""#,
        ),
        line(
            Error,
            "token-service",
            "cannot sign token for user $user\nTraceback (most recent call last):\n  File \"/app/tokens/sign.py\", line $n, in issue\n    key = keys.current()\n  File \"/app/tokens/keys.py\", line 41, in current\n    raise KeyStoreUnavailable(self.url)\ntokens.errors.KeyStoreUnavailable: https://vault:8200",
            r#""error":{"type":"KeyStoreUnavailable","retryable":true},"user":{"id":$user},"session.id":"$session","trace_id":"$trace","host":"$host""#,
        ),
    ],
    &[line(
        Fatal,
        "token-service",
        "no signing key left, refusing to start",
        r#""key":{"id":$n,"active":false},"host":"$host""#,
    )],
];

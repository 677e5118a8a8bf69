//! A database and its pool: statements, checkpoints, locks.

use sluice_model::Severity::{Debug, Error, Fatal, Info, Trace, Warn};

use super::{Line, Profile, line};

pub(super) const PROFILE: Profile =
    Profile { name: "database", share: 8, flow: FLOW, asides: ASIDES, troubles: TROUBLES };

const FLOW: &[Line] = &[
    line(
        Info,
        "postgres",
        "connection authorized: user=shop database=shop application_name=$host",
        r#""db":{"name":"shop","user":"shop"},"client.ip":"$ip","session.id":"$session","host":"$host""#,
    ),
    line(
        Info,
        "postgres",
        "duration: $ms ms  statement: SELECT * FROM $table WHERE id = $user",
        r#""db":{"name":"shop","table":"$table","rows":$rows,"statement":"SELECT"},"duration_ms":$ms,"session.id":"$session""#,
    ),
    line(
        Info,
        "postgres",
        "duration: $ms ms  statement: UPDATE $table SET seen = now() WHERE id = $user",
        r#""db":{"name":"shop","table":"$table","rows":1,"statement":"UPDATE"},"duration_ms":$ms,"session.id":"$session""#,
    ),
    line(
        Info,
        "postgres",
        "checkpoint complete: wrote $rows buffers in $slow ms",
        r#""checkpoint":{"buffers":$rows,"wal_bytes":$bytes},"duration_ms":$slow"#,
    ),
    line(
        Info,
        "postgres",
        "disconnection: session time $slow ms user=shop database=shop",
        r#""db":{"name":"shop","user":"shop"},"duration_ms":$slow,"session.id":"$session""#,
    ),
];

const ASIDES: &[Line] = &[
    line(
        Debug,
        "pgbouncer",
        "pool shop: $thread active, $attempt waiting",
        r#""pool":{"name":"shop","active":$thread,"waiting":$attempt},"host":"$host""#,
    ),
    line(
        Debug,
        "postgres",
        "autovacuum of $table removed $rows tuples",
        r#""vacuum":{"table":"$table","tuples":$rows},"duration_ms":$ms"#,
    ),
    line(
        Debug,
        "pgbouncer",
        "server connection $thread reused after $ms ms",
        r#""pool":{"name":"shop","connection":$thread},"idle_ms":$ms,"host":"$host""#,
    ),
    line(
        Trace,
        "postgres",
        "plan: Index Scan on $table, cost $n.5",
        r#""plan":{"node":"Index Scan","table":"$table","cost":$n.5},"thread":$thread"#,
    ),
];

const TROUBLES: &[&[Line]] = &[
    &[line(
        Warn,
        "postgres",
        "slow statement: SELECT count(*) FROM $table took $slow ms",
        r#""db":{"name":"shop","table":"$table","rows":$rows,"statement":"SELECT"},"duration_ms":$slow,"session.id":"$session""#,
    )],
    &[
        line(
            Warn,
            "postgres",
            "process $job still waiting for ShareLock after $slow ms",
            r#""lock":{"mode":"ShareLock","pid":$job},"duration_ms":$slow,"session.id":"$session""#,
        ),
        line(
            Error,
            "postgres",
            "deadlock detected\n  DETAIL: Process $job waits for ShareLock on transaction $order; blocked by process $n.\n  HINT: See server log for query details.\n  CONTEXT: while updating tuple ($thread,$attempt) in relation \"$table\"",
            r#""error":{"type":"40P01","retryable":true},"lock":{"mode":"ShareLock","pid":$job},"db":{"name":"shop","table":"$table"},"session.id":"$session""#,
        ),
    ],
    &[line(
        Fatal,
        "postgres",
        "terminating connection due to administrator command",
        r#""error":{"type":"57P01"},"session.id":"$session","host":"$host""#,
    )],
];

//! Jobs from queues: mails, thumbnails, invoices, exports.

use sluice_model::Severity::{Debug, Error, Fatal, Info, Trace, Warn};

use super::{Line, Profile, line};

pub(super) const PROFILE: Profile =
    Profile { name: "worker", share: 12, flow: FLOW, asides: ASIDES, troubles: TROUBLES };

const FLOW: &[Line] = &[
    line(
        Info,
        "scheduler",
        "job $job queued on $queue",
        r#""job":{"id":$job,"queue":"$queue","priority":$attempt},"user":{"id":$user},"trace_id":"$trace""#,
    ),
    line(
        Info,
        "worker",
        "job $job started on $host",
        r#""job":{"id":$job,"queue":"$queue"},"host":"$host","thread":$thread,"trace_id":"$trace""#,
    ),
    line(
        Info,
        "worker",
        "job $job: $percent % done, $rows items",
        r#""job":{"id":$job,"progress_percent":$percent,"items":$rows},"host":"$host","trace_id":"$trace""#,
    ),
    line(
        Info,
        "worker",
        "job $job finished in $slow ms: $rows items, $bytes bytes",
        r#""job":{"id":$job,"queue":"$queue","items":$rows,"bytes":$bytes},"duration_ms":$slow,"host":"$host","trace_id":"$trace""#,
    ),
];

const ASIDES: &[Line] = &[
    line(
        Debug,
        "worker",
        "heartbeat of $host: $thread jobs in hand",
        r#""host":"$host","jobs":$thread,"load":{"one":0.$n,"five":0.$percent}"#,
    ),
    line(
        Debug,
        "scheduler",
        "queue $queue has $rows jobs waiting",
        r#""queue":{"name":"$queue","depth":$rows},"host":"$host""#,
    ),
    line(
        Debug,
        "worker",
        "fetched s3://uploads/$session in $ms ms",
        r#""object":{"key":"$session","bytes":$bytes},"duration_ms":$ms,"host":"$host""#,
    ),
    line(
        Trace,
        "worker",
        "poll of $queue returned after $ms ms",
        r#""queue":{"name":"$queue"},"duration_ms":$ms,"thread":$thread"#,
    ),
];

const TROUBLES: &[&[Line]] = &[
    &[
        line(
            Warn,
            "worker",
            "job $job failed, attempt $attempt of 5, next in $ms s",
            r#""job":{"id":$job,"queue":"$queue"},"attempt":$attempt,"retry_after_s":$ms,"host":"$host","trace_id":"$trace""#,
        ),
        line(
            Info,
            "worker",
            "job $job finished in $slow ms after a retry",
            r#""job":{"id":$job,"queue":"$queue"},"duration_ms":$slow,"host":"$host","trace_id":"$trace""#,
        ),
    ],
    &[
        line(
            Warn,
            "scheduler",
            "queue $queue is $percent % full",
            r#""queue":{"name":"$queue","fill_percent":$percent},"host":"$host""#,
        ),
        line(
            Error,
            "worker",
            "job $job moved to the dead letters\nthread 'worker-$thread' panicked at src/resize.rs:$n:17:\ncalled `Result::unwrap()` on an `Err` value: Decode(\"unexpected end of file\")\nstack backtrace:\n   0: rust_begin_unwind\n   1: core::panicking::panic_fmt\n   2: core::result::unwrap_failed\n   3: worker::resize::thumbnail\n             at ./src/resize.rs:$n:17\n   4: worker::run",
            r#""job":{"id":$job,"queue":"$queue"},"error":{"type":"panic","retryable":false},"host":"$host","thread":$thread,"trace_id":"$trace""#,
        ),
    ],
    &[line(
        Fatal,
        "worker",
        "disk full on $host: cannot write $bytes bytes, exiting",
        r#""disk":{"free_bytes":0,"needed_bytes":$bytes},"host":"$host""#,
    )],
];

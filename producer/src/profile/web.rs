//! A shop's front: requests of visitors, through a gateway.

use sluice_model::Severity::{Debug, Error, Fatal, Info, Trace, Warn};

use super::{Line, Profile, line};

pub(super) const PROFILE: Profile = Profile { name: "web", share: 50, flow: FLOW, asides: ASIDES, troubles: TROUBLES };

const REQUEST: &str = r#""http":{"method":"$method","path":"$path","status":$ok,"bytes":$bytes},"duration_ms":$ms,"user":{"id":$user},"session.id":"$session","client.ip":"$ip","trace_id":"$trace","request_id":"$request","host":"$host""#;
const PAGE: Line = line(Info, "web", "$method $path $ok in $ms ms", REQUEST);

const FLOW: &[Line] = &[
    line(
        Info,
        "gateway",
        "session $session opened from $ip ($agent)",
        r#""session.id":"$session","client":{"ip":"$ip","country":"$country","agent":"$agent"},"host":"$host","trace_id":"$trace""#,
    ),
    PAGE,
    PAGE,
    PAGE,
    line(
        Info,
        "web",
        "added product to cart, $items items for user $user",
        r#""cart":{"items":$items,"amount":$amount,"currency":"$currency"},"user":{"id":$user},"session.id":"$session","trace_id":"$trace""#,
    ),
    PAGE,
    PAGE,
    line(
        Info,
        "gateway",
        "session $session closed after $slow ms",
        r#""session.id":"$session","duration_ms":$slow,"user":{"id":$user},"host":"$host""#,
    ),
];

const ASIDES: &[Line] = &[
    line(
        Debug,
        "web",
        "cache hit for $path, age $ms s",
        r#""cache":{"hit":true,"age_s":$ms},"path":"$path","request_id":"$request","host":"$host""#,
    ),
    line(
        Debug,
        "gateway",
        "upstream web:$thread picked for $path",
        r#""upstream":{"name":"web","slot":$thread},"path":"$path","trace_id":"$trace""#,
    ),
    line(
        Debug,
        "web",
        "rendered template in $ms ms",
        r#""template":{"name":"product.html","fragments":[$n,$items]},"duration_ms":$ms,"request_id":"$request""#,
    ),
    line(Trace, "web", "enter handler $method $path on thread $thread", r#""thread":$thread,"request_id":"$request""#),
];

const TROUBLES: &[&[Line]] = &[
    &[line(
        Warn,
        "web",
        "$method $path $bad in $ms ms",
        r#""http":{"method":"$method","path":"$path","status":$bad},"duration_ms":$ms,"user":{"id":$user},"client.ip":"$ip","trace_id":"$trace""#,
    )],
    &[
        line(
            Warn,
            "gateway",
            "slow upstream: $path took $slow ms",
            r#""upstream":{"name":"web","timeout_ms":30000},"duration_ms":$slow,"path":"$path","trace_id":"$trace""#,
        ),
        line(
            Error,
            "web",
            "request failed: $method $path $fail\njava.net.SocketTimeoutException: Read timed out after $slow ms\n\tat java.base/sun.nio.ch.NioSocketImpl.timedRead(NioSocketImpl.java:278)\n\tat java.base/sun.nio.ch.NioSocketImpl.implRead(NioSocketImpl.java:304)\n\tat com.example.shop.InventoryClient.fetch(InventoryClient.java:$n)\n\tat com.example.shop.ProductController.show(ProductController.java:87)\n\t... $thread more",
            r#""http":{"method":"$method","path":"$path","status":$fail},"error":{"type":"java.net.SocketTimeoutException","retryable":true},"duration_ms":$slow,"user":{"id":$user},"trace_id":"$trace","host":"$host""#,
        ),
        line(
            Warn,
            "gateway",
            "circuit to inventory opened after $attempt failures",
            r#""circuit":{"name":"inventory","failures":$attempt},"host":"$host","trace_id":"$trace""#,
        ),
    ],
    &[line(
        Fatal,
        "web",
        "out of memory: heap at $percent %, shutting down\njava.lang.OutOfMemoryError: Java heap space\n\tat java.base/java.util.Arrays.copyOf(Arrays.java:3537)\n\tat com.example.shop.ImageCache.load(ImageCache.java:$n)",
        r#""error":{"type":"java.lang.OutOfMemoryError"},"heap":{"used_percent":$percent},"host":"$host""#,
    )],
];

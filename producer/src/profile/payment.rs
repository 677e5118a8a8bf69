//! Paying for an order: authorisation, capture, ledger, receipt.

use sluice_model::Severity::{Debug, Error, Fatal, Info, Trace, Warn};

use super::{Line, Profile, line};

pub(super) const PROFILE: Profile =
    Profile { name: "payment", share: 15, flow: FLOW, asides: ASIDES, troubles: TROUBLES };

const FLOW: &[Line] = &[
    line(
        Info,
        "checkout",
        "checkout started for order $order: $items items, $amount $currency",
        r#""order":{"id":$order,"items":$items,"amount":$amount,"currency":"$currency"},"user":{"id":$user},"session.id":"$session","trace_id":"$trace""#,
    ),
    line(
        Info,
        "payment",
        "authorising $amount $currency on card ending $card",
        r#""order":{"id":$order,"amount":$amount,"currency":"$currency"},"card":{"last4":"$card","country":"$country"},"trace_id":"$trace""#,
    ),
    line(
        Info,
        "payment",
        "order $order authorised in $ms ms",
        r#""order":{"id":$order},"gateway":{"name":"acme-pay","code":"00"},"duration_ms":$ms,"trace_id":"$trace""#,
    ),
    line(
        Info,
        "payment",
        "captured $amount $currency for order $order",
        r#""order":{"id":$order,"amount":$amount,"currency":"$currency"},"duration_ms":$ms,"trace_id":"$trace""#,
    ),
    line(
        Info,
        "ledger",
        "booked order $order: debit 1200, credit 4400",
        r#""order":{"id":$order,"amount":$amount},"entries":[{"account":1200,"side":"debit"},{"account":4400,"side":"credit"}],"trace_id":"$trace""#,
    ),
    line(
        Info,
        "checkout",
        "order $order completed in $slow ms, receipt sent to user $user",
        r#""order":{"id":$order},"user":{"id":$user},"duration_ms":$slow,"session.id":"$session","trace_id":"$trace""#,
    ),
];

const ASIDES: &[Line] = &[
    line(
        Debug,
        "payment",
        "fraud score $n for order $order",
        r#""fraud":{"score":0.$n,"model":"v7"},"order":{"id":$order},"trace_id":"$trace""#,
    ),
    line(
        Debug,
        "payment",
        "gateway connection $thread reused",
        r#""gateway":{"name":"acme-pay","connection":$thread},"host":"$host""#,
    ),
    line(
        Debug,
        "checkout",
        "exchange rate for $currency is $ms s old",
        r#""rate":{"currency":"$currency","age_s":$ms,"stale":false},"host":"$host""#,
    ),
    line(
        Trace,
        "ledger",
        "lock on account 1200 held for $ms ms",
        r#""lock":{"account":1200},"duration_ms":$ms,"thread":$thread"#,
    ),
];

const TROUBLES: &[&[Line]] = &[
    &[line(
        Warn,
        "payment",
        "card ending $card declined for order $order: insufficient funds",
        r#""order":{"id":$order,"amount":$amount,"currency":"$currency"},"gateway":{"name":"acme-pay","code":"51"},"card":{"last4":"$card"},"trace_id":"$trace""#,
    )],
    &[
        line(
            Warn,
            "payment",
            "gateway timeout after $slow ms, retry $attempt for order $order",
            r#""order":{"id":$order},"gateway":{"name":"acme-pay"},"attempt":$attempt,"duration_ms":$slow,"trace_id":"$trace""#,
        ),
        line(
            Error,
            "payment",
            "payment failed for order $order\ncom.example.pay.GatewayException: no answer from acme-pay after $slow ms\n\tat com.example.pay.AcmeGateway.authorise(AcmeGateway.java:$n)\n\tat com.example.pay.PaymentService.charge(PaymentService.java:142)\n\tat com.example.pay.PaymentListener.onOrder(PaymentListener.java:58)\nCaused by: java.net.http.HttpTimeoutException: request timed out\n\tat java.net.http/jdk.internal.net.http.HttpClientImpl.send(HttpClientImpl.java:571)\n\t... $thread more",
            r#""order":{"id":$order,"amount":$amount,"currency":"$currency"},"error":{"type":"com.example.pay.GatewayException","retryable":true},"duration_ms":$slow,"user":{"id":$user},"trace_id":"$trace""#,
        ),
        line(
            Error,
            "checkout",
            "order $order could not be completed: payment failed",
            r#""order":{"id":$order,"amount":$amount},"user":{"id":$user},"session.id":"$session","trace_id":"$trace""#,
        ),
    ],
    &[line(
        Fatal,
        "ledger",
        "books do not balance after order $order: off by $amount $currency, stopping",
        r#""order":{"id":$order},"difference":{"amount":$amount,"currency":"$currency"},"host":"$host""#,
    )],
];

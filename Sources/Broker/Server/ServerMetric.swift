import MartletJournal
package import MartletMetrics
import MartletNet
import MartletShard

/// A metric of `/metrics`. Documentation/metrics.md lists them all. Names and labels stay as they are: dashboards and alerts go by them.
package struct ServerMetric: Sendable {
    package let name: String
    package let kind: MetricKind
    package let labels: [String]
    package let meaning: String
    private let write: @Sendable (ServerFigures, inout MetricsText) -> Void

    init(
        _ kind: MetricKind, _ name: String, _ meaning: String, labels: [String] = [], _ write: @escaping @Sendable (ServerFigures, inout MetricsText) -> Void
    ) {
        (self.name, self.kind, self.labels, self.meaning, self.write) = (name, kind, labels, meaning, write)
    }

    /// One number, the sum over all loops.
    init(_ kind: MetricKind, _ name: String, _ meaning: String, of source: String, _ sample: String) {
        self.init(kind, name, meaning) { $1.sample($0.sum(source, sample)) }
    }

    /// A number for each protocol that counts it.
    init(_ kind: MetricKind, _ name: String, _ meaning: String, byProtocol samples: [(source: String, sample: String)]) {
        self.init(kind, name, meaning, labels: ["protocol"]) { figures, text in
            for (source, sample) in samples { text.sample(figures.sum(source, sample), source) }
        }
    }

    /// A number for each queue that has series.
    init(_ name: String, _ meaning: String, ofQueue value: @escaping @Sendable (QueueSample) -> UInt64) {
        self.init(.gauge, name, meaning, labels: ["protocol", "vhost", "queue"]) { figures, text in
            for queue in figures.queues { text.sample(value(queue), queue.source, queue.namespace, queue.name) }
        }
    }

    static func text(of figures: ServerFigures) -> [UInt8] {
        var text = MetricsText()
        for metric in all {
            text.begin(metric.name, metric.kind, metric.meaning, labels: metric.labels)
            metric.write(figures, &text)
        }
        return text.bytes
    }

    /// In the order in which they are sent.
    package static let all = server + connections + messages + queues + sessions + journal + loops
}

// MARK: What there is

extension ServerMetric {
    private static let server: [ServerMetric] = [
        .init(.gauge, "martlet_build_info", "Always 1; the server's version is a label.", labels: ["version"]) { $1.sample(1, $0.version) },
        .init(.gauge, "martlet_uptime_seconds", "Time since the server began.") { $1.sample(fraction: $0.uptime.seconds) },
        .init(.gauge, "process_start_time_seconds", "When the server began, in seconds since 1970.") { $1.sample(fraction: $0.started) },
        .init(.counter, "process_cpu_seconds_total", "Time of all processors, in user code and in the kernel.") {
            $1.sample(fraction: $0.process.processorTime.seconds)
        },
        .init(.gauge, "process_resident_memory_bytes", "Memory that the process has.") { $1.sample(UInt64($0.process.residentBytes)) },
        .init(.gauge, "process_virtual_memory_bytes", "Addresses that the process has taken; most have no memory.") {
            $1.sample(UInt64($0.process.virtualBytes))
        },
        .init(.gauge, "martlet_heap_bytes", "Memory of the heap that is in use.") { $1.sample($0.heapBytes) },
    ]

    private static let connections: [ServerMetric] = [
        .init(
            .gauge, "martlet_connections_open", "Connections that are open.",
            byProtocol: [("mqtt", "connections"), ("amqp", "connections"), ("http", "connections"), ("websocket", "connections")]),
        .init(
            .counter, "martlet_connections_total",
            "Connections that were taken: by CONNACK, by connection.open-ok, for HTTP by accept, for pages when it is known who they are.",
            byProtocol: [("mqtt", "connectionsAccepted"), ("amqp", "connectionsOpened"), ("http", "connectionsAccepted"), ("websocket", "connectionsAccepted")]),
        .init(
            .counter, "martlet_connections_refused_total", "Connections that were refused: wrong credentials, or too many.",
            byProtocol: [("mqtt", "connectionsRefused"), ("amqp", "connectionsRefused"), ("http", "connectionsRefused"), ("websocket", "connectionsRefused")]),
        .init(
            .counter, "martlet_handshakes_failed_total", "Connections whose TLS failed.",
            byProtocol: [("mqtt", "handshakesFailed"), ("amqp", "handshakesFailed"), ("http", "handshakesFailed")]),
        .init(
            .counter, "martlet_violations_total", "Connections that were ended because the client broke the protocol or a limit, or was silent for too long.",
            byProtocol: [("mqtt", "violations"), ("amqp", "violations"), ("http", "violations"), ("websocket", "violations")]),
        .init(.counter, "martlet_http_requests_total", "Requests to HTTP listeners, by the class of the answer's status.", labels: ["class"]) { figures, text in
            for digit in 1...5 { text.sample(figures.sum("http", "responses\(digit)xx"), "\(digit)xx") }
        },
        .init(.counter, "martlet_network_received_bytes_total", "Bytes read from sockets, of all protocols, with TLS as it is encrypted.", labels: ["loop"]) {
            for loop in $0.loops { $1.sample(loop.value("bytesRead"), "\(loop.loop)") }
        },
        .init(.counter, "martlet_network_sent_bytes_total", "Bytes written to sockets, of all protocols, with TLS as it is encrypted.", labels: ["loop"]) {
            for loop in $0.loops { $1.sample(loop.value("bytesWritten"), "\(loop.loop)") }
        },
    ]
}

// MARK: What happened to messages

extension ServerMetric {
    private static let messages: [ServerMetric] = [
        .init(
            .counter, "martlet_messages_received_total", "Messages that clients published.",
            byProtocol: [("mqtt", "publishesReceived"), ("amqp", "published"), ("websocket", "publishesReceived")]),
        .init(.counter, "martlet_messages_sent_total", "Messages that clients were sent, copies and repetitions counted each.", labels: ["protocol"]) {
            $1.sample($0.sum("mqtt", "publishesSent"), "mqtt")
            $1.sample($0.sum("amqp", "delivered") + $0.sum("amqp", "got"), "amqp")
            $1.sample($0.sum("websocket", "messagesSent"), "websocket")
        },
        .init(
            .counter, "martlet_message_received_bytes_total", "Bytes of bodies that clients published; for HTTP, of requests' content.",
            byProtocol: [("mqtt", "publishBytesReceived"), ("amqp", "publishedBytes"), ("http", "contentReceived"), ("websocket", "publishBytesReceived")]),
        .init(
            .counter, "martlet_message_sent_bytes_total", "Bytes of bodies that clients were sent; for HTTP, of answers' content.",
            byProtocol: [("mqtt", "publishBytesSent"), ("amqp", "deliveredBytes"), ("http", "contentSent"), ("websocket", "messageBytesSent")]),
        .init(.counter, "martlet_messages_unroutable_total", "Messages that no queue and no subscriber wanted.", of: "core", "unroutable"),
        .init(.counter, "martlet_messages_refused_total", "Messages that were refused, and their publishers told.", of: "core", "refused"),
        .init(
            .counter, "martlet_messages_dropped_total",
            "Messages that a subscriber or queue did not get, or lost. "
                + "slow_consumer: QoS 0 or a page, and its connection was full; queue_full_newest and queue_full_oldest: by the queue's limit; "
                + "expired: their time was over; too_large: above what the client takes; damaged: the journal could not be read.", labels: ["reason"]
        ) {
            $1.sample($0.sum("core", "droppedSlow") + $0.sum("mqtt", "droppedSlow") + $0.sum("websocket", "droppedSlow"), "slow_consumer")
            $1.sample($0.sum("core", "droppedNewest"), "queue_full_newest")
            $1.sample($0.sum("core", "droppedOldest"), "queue_full_oldest")
            $1.sample($0.sum("core", "expired"), "expired")
            $1.sample($0.sum("mqtt", "droppedOversized"), "too_large")
            $1.sample($0.sum("core", "damaged"), "damaged")
        },
        .init(.counter, "martlet_messages_requeued_total", "Messages that consumers gave back to their queues.", of: "core", "requeued"),
        .init(.counter, "martlet_messages_rejected_total", "Messages that consumers did not want.", of: "core", "rejected"),
        .init(.counter, "martlet_messages_paged_total", "Messages that were left to the journal because memory was short.", of: "core", "paged"),
        .init(.counter, "martlet_messages_replayed_total", "Retained messages that subscribers were given.", of: "core", "replayed"),
    ]

    private static let queues: [ServerMetric] = [
        .init(.gauge, "martlet_queues", "Queues that there are; a session and a shared subscription have one each.", of: "core", "queues"),
        .init(.gauge, "martlet_messages_ready", "Messages in all queues that wait for a consumer.", of: "core", "ready"),
        .init(.gauge, "martlet_messages_unacknowledged", "Messages in all queues that a consumer has and has not acknowledged.", of: "core", "unsettled"),
        .init(.gauge, "martlet_queued_bytes", "Bytes of ready and unacknowledged messages, in memory or in the journal.", of: "core", "queuedBytes"),
        .init(.gauge, "martlet_stored_messages", "Messages in memory, each once however many queues it is in.", of: "core", "storedMessages"),
        .init(.gauge, "martlet_stored_bytes", "Bytes of the messages in memory.", of: "core", "storedBytes"),
        .init("martlet_queue_messages_ready", "Messages that wait for a consumer, by queue.") { UInt64($0.ready) },
        .init("martlet_queue_messages_unacknowledged", "Messages that a consumer has and has not acknowledged, by queue.") { UInt64($0.unsettled) },
        .init("martlet_queue_bytes", "Bytes of ready and unacknowledged messages, by queue.") { $0.bytes },
        .init("martlet_queue_consumers", "Consumers, by queue; of a session, whether it is connected.") { UInt64($0.consumers) },
        .init(.gauge, "martlet_queue_series_left_out", "Queues without series of their own, because the largest 1000 have them.") {
            $1.sample(UInt64($0.queuesLeftOut))
        },
    ]

    private static let sessions: [ServerMetric] = [
        .init(.gauge, "martlet_retained_messages", "Messages that are retained.") { $1.sample(UInt64($0.retainedMessages)) },
        .init(.gauge, "martlet_retained_bytes", "Bytes of the messages that are retained.") { $1.sample(UInt64($0.retainedBytes)) },
        .init(.gauge, "martlet_bindings", "Bindings that there are: AMQP's, and MQTT's subscriptions.") { $1.sample(UInt64($0.bindings)) },
        .init(.gauge, "martlet_mqtt_sessions", "MQTT sessions, connected or not.", of: "mqtt", "sessions"),
        .init(.gauge, "martlet_mqtt_sessions_connected", "MQTT sessions with a client.", of: "mqtt", "sessionsConnected"),
        .init(.counter, "martlet_mqtt_sessions_expired_total", "MQTT sessions whose time was over.", of: "mqtt", "sessionsExpired"),
        .init(.gauge, "martlet_mqtt_subscriptions", "MQTT subscriptions, shared ones too.", of: "mqtt", "subscriptions"),
        .init(
            .counter, "martlet_mqtt_disconnected_slow_total", "MQTT clients that were sent away because their queue was full.", of: "mqtt", "disconnectedSlow"),
        .init(.gauge, "martlet_amqp_channels", "AMQP channels that are open.", of: "amqp", "channels"),
        .init(.gauge, "martlet_amqp_consumers", "AMQP consumers.", of: "amqp", "consumers"),
        .init(.counter, "martlet_amqp_exceptions_total", "AMQP channels and connections that an error of the client closed.", of: "amqp", "exceptions"),
        .init(.counter, "martlet_amqp_publishers_blocked_total", "How often an AMQP publisher was held, and told so.", of: "amqp", "blocked"),
    ]
}

// MARK: The machine below

extension ServerMetric {
    private static let journal: [ServerMetric] = [
        .init(.counter, "martlet_journal_records_total", "Records that were given to the journal.", of: "journal", "journalRecords"),
        .init(.counter, "martlet_journal_written_bytes_total", "Bytes that the journal has written.", of: "journal", "journalBytes"),
        .init(.counter, "martlet_journal_writes_total", "Writes of the journal, each of many records where there are many.", of: "journal", "journalWrites"),
        .init(.histogram, "martlet_journal_sync_seconds", "How long the disk took for a sync; persistent messages wait for it.") {
            $1.histogram(bounds: JournalCounters.syncTimeBounds.map(\.seconds), counts: $0.journal.syncTimes, sum: $0.journal.syncTime.seconds)
        },
        .init(.gauge, "martlet_journal_sync_longest_seconds", "The longest sync since the server began.") {
            $1.sample(fraction: $0.journal.syncTimeMax.seconds)
        },
        .init(.gauge, "martlet_journal_full", "1 while the disk is full, or so slow that persistent messages are refused or held.") {
            $1.sample($0.sum("journal", "journalFull") > 0 ? 1 : 0)
        },
        .init(.counter, "martlet_journal_segments_prepared_total", "Files of the journal that were made ready.") { $1.sample(UInt64($0.files?.prepared ?? 0)) },
        .init(.counter, "martlet_journal_segments_discarded_total", "Files of the journal that nothing lives in any more.") {
            $1.sample(UInt64($0.files?.discarded ?? 0))
        },
    ]

    private static let loops: [ServerMetric] = [
        .init(.counter, "martlet_loop_ticks_total", "Turns of an event loop.", labels: ["loop"]) {
            for loop in $0.loops { $1.sample(loop.value("ticks"), "\(loop.loop)") }
        },
        .init(
            .counter, "martlet_loop_stalls_total", "Turns that took longer than so many seconds; all other connections of the loop waited.",
            labels: ["loop", "seconds"]
        ) {
            for loop in $0.loops {
                $1.sample(loop.value("ticksOver10ms"), "\(loop.loop)", "0.01")
                $1.sample(loop.value("ticksOver100ms"), "\(loop.loop)", "0.1")
            }
        },
        .init(.gauge, "martlet_loop_longest_tick_seconds", "The longest turn since the server began; 0 if none took 5 ms.", labels: ["loop"]) {
            for loop in $0.loops { $1.sample(fraction: loop.longestTick.seconds, "\(loop.loop)") }
        },
    ]
}

extension Duration {
    fileprivate var seconds: Double { self / .seconds(1) }
}

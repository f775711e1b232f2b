/// What this shard's pages have done; plain numbers of its thread.
struct WebSocketCounters {
    var connectionsAccepted: UInt64 = 0
    var connectionsRefused: UInt64 = 0
    var violations: UInt64 = 0
    /// Messages of pages, good or not.
    var operations: UInt64 = 0
    /// Those that were answered by `error`.
    var operationsRefused: UInt64 = 0
    var publishesReceived: UInt64 = 0
    var publishBytesReceived: UInt64 = 0
    var messagesSent: UInt64 = 0
    var messageBytesSent: UInt64 = 0
    /// Messages for a page whose output was full.
    var droppedSlow: UInt64 = 0
    var requests: UInt64 = 0
    var requestsUnanswered: UInt64 = 0

    var samples: [(name: String, value: UInt64)] {
        [
            ("connectionsAccepted", connectionsAccepted), ("connectionsRefused", connectionsRefused), ("violations", violations), ("operations", operations),
            ("operationsRefused", operationsRefused), ("publishesReceived", publishesReceived), ("publishBytesReceived", publishBytesReceived),
            ("messagesSent", messagesSent), ("messageBytesSent", messageBytesSent), ("droppedSlow", droppedSlow), ("requests", requests),
            ("requestsUnanswered", requestsUnanswered),
        ]
    }
}

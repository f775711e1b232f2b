import MartletCollections

/// One source of messages whose acknowledgements leave in the order the messages came.
///
/// A message that must wait (for the journal, for another shard's answer) makes every later acknowledgement of this publisher
/// wait behind it, complete or not. Nobody waiting, nothing is kept.
public struct Publisher: ~Copyable {
    let gateway: GatewayID
    /// The gateway's own name for it (MQTT: the session's number).
    let token: UInt32
    var waiting = Ring<Receipt>()
    /// The number of `waiting[0]`; the receipt with number n is `waiting[n - firstReceipt]`.
    var firstReceipt: UInt64 = 0
}

internal import MartletBytes

/// What has come, until somebody takes it.
extension SocketState {
    /// Takes what a peer's connection has read. Answers whether reading it must pause.
    mutating func deliver(_ staging: inout Inbox, from index: Int) -> Bool {
        counters.received &+= UInt64(staging.count)
        if isDeaf {
            counters.droppedUnwanted &+= UInt64(staging.count)
            staging.removeAll()
            return false
        }
        if peers[index].inbox.isEmpty, !staging.isEmpty { readable.append(index) }
        peers[index].inbox.take(wholeOf: &staging)
        if options.isConflating { counters.droppedAtMark &+= UInt64(peers[index].inbox.keepLast()) }
        if isFull(index) { peers[index].isPaused = true }
        return peers[index].isPaused
    }

    /// Takes a message of a socket in the process. Answers false if nobody will read it, or one that it replaces.
    mutating func deliver(_ message: ZMQMessage, _ prefix: ZMQMessage?, from first: Int, to index: Int) -> Bool {
        counters.received &+= 1
        if isDeaf {
            counters.droppedUnwanted &+= 1
            return false
        }
        if peers[index].inbox.isEmpty { readable.append(index) }
        peers[index].inbox.append(prefix, message, from: first)
        guard options.isConflating, peers[index].inbox.count > 1 else { return true }
        counters.droppedAtMark &+= UInt64(peers[index].inbox.keepLast())
        return false
    }

    private func isFull(_ index: Int) -> Bool {
        if options.isConflating { return false }
        let mark = options.receiveHighWaterMark
        return mark > 0 && peers[index].inbox.count >= mark || peers[index].inbox.size >= options.receiveBytesMax
    }

    /// Moves all that has come into `batches`, which must be empty. Answers whom to read from again, and whom to give credit for how much.
    mutating func take(into batches: inout [Batch], spare: inout Inbox, resumed: inout [PeerName], credits: inout [(InprocLink, Int)]) {
        if !notes.isEmpty {
            var batch = Batch(peer: PeerName(index: -1, serial: 0), routingID: [])
            batch.inbox.take(wholeOf: &notes)
            batches.append(batch)
        }
        for index in readable {
            var batch = Batch(peer: name(index), routingID: peers[index].routingID)
            if let link = peers[index].link {
                peers[index].owed += peers[index].inbox.count
                // Not for each few: the other end's lock is what its senders need.
                if peers[index].owed * 4 >= options.receiveHighWaterMark + link.core.options.sendHighWaterMark {
                    credits.append((link, peers[index].owed))
                    peers[index].owed = 0
                }
            }
            swap(&batch.inbox, &peers[index].inbox)
            swap(&spare, &peers[index].inbox)
            batches.append(batch)
            if peers[index].isPaused {
                peers[index].isPaused = false
                resumed.append(name(index))
            }
            if !peers[index].isLive { free.append(index) }
        }
        readable.removeAll(keepingCapacity: true)
    }

    var hasMessages: Bool { !readable.isEmpty || !notes.isEmpty }
}

/// The other end of a pair of peers in the process.
struct InprocLink: Sendable {
    let core: SocketCore
    let peer: PeerName
}

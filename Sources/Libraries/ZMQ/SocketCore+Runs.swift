internal import MartletBytes
internal import Synchronization

/// Many messages at a time: what a proxy moves. One lock a run instead of one a message.
extension SocketCore {
    /// What became of a run: how many of its messages the pattern has taken, or dropped, and why it stopped.
    struct RunOutcome {
        var taken = 0
        var bytes = 0
        /// For a peer that is not there, by a mandatory ROUTER.
        var refused = 0
        var isFull = false
        /// Nothing is sent any more.
        var isClosed = false
    }

    /// Moves what has come behind the messages of `run`, of each peer in turn, until these are `countMax` or have `bytesMax`. Answers whether nothing
    /// can come any more.
    func take(into run: inout [ZMQMessage], countMax: Int, bytesMax: Int) -> Bool {
        var settling = Settling(), bytes = 0
        let isClosed = reading.withLock { reading in
            while run.count < countMax, bytes < bytesMax {
                if reading.batches.isEmpty {
                    guard run.isEmpty else { return false }
                    let isClosed = refill(&reading, &settling)
                    if reading.batches.isEmpty { return isClosed }
                }
                let message = reading.next().0
                guard isWanted(message, reading.filter) else {
                    reading.unwanted &+= 1
                    continue
                }
                bytes &+= message.byteCount
                run.append(message)
            }
            return false
        }
        settle(settling)
        return isClosed
    }

    /// Gives the messages of `run` from `first` on to the pattern, in their order, until one finds no room.
    func offer(run: [ZMQMessage], from first: Int) -> RunOutcome {
        if type == .xsub { return offerUpstream(run, from: first) }
        var outcome = RunOutcome(), tells = false, links: [(message: Int, link: InprocLink)] = []
        shared.withLock { shared in
            outcome.isClosed = shared.isClosing
            while !outcome.isClosed, !outcome.isFull, first + outcome.taken < run.count {
                let index = first + outcome.taken
                outcome.note(shared.state.offer(run[index]), run[index])
                guard let link = shared.state.delivery.take() else { continue }
                links.append((index, link))
                for link in shared.state.deliveries { links.append((index, link)) }
                shared.state.deliveries.removeAll(keepingCapacity: true)
            }
            tells = shared.isToTell(outcome.isFull ? .full : .sent)
        }
        if tells { tellLoop() }
        for (index, link) in links { link.core.deliver(run[index], nil, from: type == .router ? 1 : 0, to: link.peer) }
        return outcome
    }

    /// XSUB: a message of one frame that begins with 1 or 0 is a subscription, or its end, which publishers that come later are told too (RFC 29).
    private func offerUpstream(_ run: [ZMQMessage], from first: Int) -> RunOutcome {
        var outcome = RunOutcome()
        while !outcome.isFull, !outcome.isClosed, first + outcome.taken < run.count {
            let message = run[first + outcome.taken]
            if message.count == 1, let kind = message.bytes.first, kind <= 1 {
                outcome.isClosed = shared.withLock { $0.isClosing }
                guard !outcome.isClosed else { break }
                subscribe(to: Array(message.bytes.dropFirst()), isOn: kind == 1)
                outcome.note(.sent, message)
            } else {
                do throws(ZMQError) { outcome.note(try offer(message), message) } catch { outcome.isClosed = true }
            }
        }
        return outcome
    }
}

extension SocketCore.RunOutcome {
    @inline(__always) mutating func note(_ outcome: SocketState.Outcome, _ message: ZMQMessage) {
        switch outcome {
        case .sent, .dropped:
            taken &+= 1
            bytes &+= message.byteCount
        case .noPeer:
            taken &+= 1
            refused &+= 1
        case .full: isFull = true
        }
    }
}

internal import MartletBytes
internal import MartletDeflate
internal import Synchronization

/// A response's content between the exchange and who reads it: decoded, if it came as gzip.
///
/// A few bytes can stand for very many: above 1 MiB decoded content may be at most `ratioMax` times what came.
final class HTTPClientContent: Sendable {
    private struct State: ~Copyable {
        var inflater: Inflater?
        var receivedCount = 0
        var decodedCount = 0
    }
    let exchange: HTTPExchange
    let attempt: String
    private let state: Mutex<State>
    private let isEncoded: Bool
    private let ratioMax: Int
    private static let freeCount = 1 << 20
    private static let discardMax = 1 << 16
    /// Content of one piece, decoded: the reader's next call goes on.
    private static let pieceMax = 64 << 20

    init(_ exchange: HTTPExchange, attempt: String, isEncoded: Bool, ratioMax: Int) {
        self.exchange = exchange
        self.attempt = attempt
        self.isEncoded = isEncoded
        self.ratioMax = ratioMax
        state = Mutex(State(inflater: isEncoded ? Inflater(.gzip) : nil))
    }

    func next() async throws(HTTPClientError) -> [UInt8]? {
        while let piece = try await exchange.next() {
            guard isEncoded else { return piece }
            let decoded = try decode(piece)
            if !decoded.isEmpty { return decoded }
        }
        guard isEncoded, state.withLock({ $0.receivedCount > 0 && $0.inflater?.isFinished == false }) else { return nil }
        throw HTTPClientError(.codingInvalid, "\(attempt): the response's gzip content ends too early")
    }

    /// Nobody wants it: a little is read, so that the connection can go on, more ends it.
    func discard() async {
        var count = 0
        do throws(HTTPClientError) {
            while count <= Self.discardMax, let piece = try await exchange.next() { count += piece.count }
        } catch {
            return
        }
        if count > Self.discardMax { exchange.abandon() }
    }

    private func decode(_ piece: [UInt8]) throws(HTTPClientError) -> [UInt8] {
        do throws(Inflater.Failure) {
            return try state.withLock { (state) throws(Inflater.Failure) -> [UInt8] in
                state.receivedCount += piece.count
                let allowed = max(Self.freeCount, state.receivedCount.multipliedReportingOverflow(by: ratioMax).partialValue)
                var output = ByteBuffer()
                guard state.inflater != nil else { throw .malformed }
                try state.inflater?.append(piece.span, limit: min(Self.pieceMax, allowed - state.decodedCount), into: &output)
                state.decodedCount += output.count
                return output.span.array
            }
        } catch {
            exchange.abandon()
            switch error {
            case .malformed: throw HTTPClientError(.codingInvalid, "\(attempt): the response's content is not the gzip that it says it is")
            case .tooLong:
                throw HTTPClientError(
                    .codingInvalid, "\(attempt): the response's gzip content becomes more than \(ratioMax) times as large, which is not taken")
            }
        }
    }
}

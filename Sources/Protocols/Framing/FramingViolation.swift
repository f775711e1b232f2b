/// How the peer broke the framing. There is no farewell: these framings have no word for it.
public enum FramingViolation: Error, Equatable, Sendable {
    /// Longer than the limit, which is given; the frame itself was not waited for.
    case frameTooLong(max: Int)
    /// The peer ended its stream inside of a frame, or in a line without its LF.
    case endedInFrame
}

extension FramingViolation: CustomStringConvertible {
    public var description: String {
        switch self {
        case .frameTooLong(let max): "a frame of over \(max) bytes"
        case .endedInFrame: "the stream ended in the middle of a frame"
        }
    }
}

/// What the caller of a `FramingMachine` got wrong. Nothing was written.
public enum FramingMisuse: Error, Equatable, Sendable {
    /// Longer than the limit, or than the prefix can say.
    case frameTooLong(max: Int)
    /// Not the framing's fixed size.
    case wrongSize(expected: Int)
    /// It holds LF or ends in CR: the peer would read another line, or two.
    case notOneLine
    /// The peer broke the framing before.
    case closed
}

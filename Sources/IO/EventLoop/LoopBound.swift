/// A value that may be carried anywhere and opened only on its loop's thread.
///
/// It is released wherever its last holder is: what it holds must not mind that.
public struct LoopBound<Value>: @unchecked Sendable {  // the loop's thread alone opens it
    @usableFromInline let value: Value
    public let loop: EventLoop

    @inlinable public init(_ value: Value, on loop: EventLoop) {
        self.value = value
        self.loop = loop
    }

    /// The value. Traps elsewhere than on the loop's thread.
    @inlinable public func callAsFunction() -> Value {
        precondition(loop.isCurrent, "a value of an event loop was opened on another thread")
        return value
    }
}

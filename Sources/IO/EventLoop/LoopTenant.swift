/// Who lives on a loop: gets its mail and the end of every tick.
public protocol LoopTenant: AnyObject {
    /// A tick begins: `loop.now` is new.
    func tickBegan(on loop: EventLoop)
    /// Bytes that another loop's tenant posted; valid during the call.
    func receive(letter: Span<UInt8>, from sender: Int, on loop: EventLoop)
    /// Everything of this tick has been handled; what is appended to outputs now still leaves with it.
    func tickEnded(on loop: EventLoop)
    /// The loop has stopped: the last call on its thread.
    func ended(on loop: EventLoop)
}

extension LoopTenant {
    public func ended(on loop: EventLoop) {}
}

package endpoint

import (
	"encoding/binary"
	"fmt"
	"io"
	"strings"
)

// Frame types and flags of HTTP/2 (RFC 9113, section 6).
const (
	frameData      = 0
	frameHeaders   = 1
	frameReset     = 3
	frameSettings  = 4
	framePing      = 6
	frameGoAway    = 7
	flagAck        = 1
	flagEndStream  = 1
	flagEndHeaders = 4
)

func writeFrame(p *peer, kind, flags byte, stream uint32, payload []byte) {
	p.Conn.Write(rawFrame(kind, flags, stream, payload))
}

func rawFrame(kind, flags byte, stream uint32, payload []byte) []byte {
	frame := binary.BigEndian.AppendUint32(nil, uint32(len(payload))<<8|uint32(kind))
	frame = append(frame, flags)
	frame = binary.BigEndian.AppendUint32(frame, stream)
	return append(frame, payload...)
}

// serveFrames speaks just enough HTTP/2 to call answer for every request.
func serveFrames(p *peer, settings []byte, answer func(stream uint32)) {
	if _, err := io.ReadFull(p.Conn, make([]byte, len("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"))); err != nil {
		return
	}
	writeFrame(p, frameSettings, 0, 0, settings)
	for {
		header := make([]byte, 9)
		if _, err := io.ReadFull(p.Conn, header); err != nil {
			return
		}
		payload := make([]byte, binary.BigEndian.Uint32(header)>>8)
		kind, flags, stream := header[3], header[4], binary.BigEndian.Uint32(header[5:])
		if _, err := io.ReadFull(p.Conn, payload); err != nil {
			return
		}
		switch {
		case kind == framePing && flags&flagAck == 0:
			writeFrame(p, framePing, flagAck, 0, payload)
		case kind == frameSettings && flags&flagAck == 0:
			writeFrame(p, frameSettings, flagAck, 0, nil)
		case kind == frameData && flags&flagEndStream != 0:
			p.requests.Add(1)
			answer(stream)
		}
	}
}

// frames is an HTTP/2 server that answers each request, which is told from the others by its stream.
func frames(answer func(p *peer, stream uint32)) func(*peer) {
	return func(p *peer) { serveFrames(p, nil, func(stream uint32) { answer(p, stream) }) }
}

// deaf is an HTTP/2 server that looks at nothing any more after the first request of a connection.
func deaf(then func(*peer)) func(*peer) {
	return func(p *peer) { serveFrames(p, nil, func(uint32) { then(p); p.hang() }) }
}

// hpack returns headers in HPACK (RFC 7541): :status and literals that are not kept.
func hpack(status int, fields ...string) []byte {
	block := fmt.Appendf([]byte{0x08, 3}, "%03d", status) // the name is that of index 8
	for _, field := range fields {
		block = append(block, 0)
		for part := range strings.SplitSeq(field, ": ") {
			block = appendString(block, part)
		}
	}
	return block
}

// appendString writes a string as HPACK does, with its length as an integer of a prefix of 7 bits.
func appendString(block []byte, s string) []byte {
	n := len(s)
	if n < 127 {
		return append(append(block, byte(n)), s...)
	}
	block = append(block, 127)
	for n -= 127; n >= 128; n >>= 7 {
		block = append(block, byte(n&127|128))
	}
	return append(append(block, byte(n)), s...)
}

// begin answers with headers and leaves the stream open.
func begin(p *peer, stream uint32, status int, fields ...string) {
	writeFrame(p, frameHeaders, flagEndHeaders, stream, hpack(status, fields...))
}

// finish answers with headers alone.
func finish(p *peer, stream uint32, status int, fields ...string) {
	writeFrame(p, frameHeaders, flagEndStream|flagEndHeaders, stream, hpack(status, fields...))
}

// resets ends a stream with an error code (RFC 9113, section 7).
func resets(p *peer, stream, code uint32) {
	writeFrame(p, frameReset, 0, stream, binary.BigEndian.AppendUint32(nil, code))
}

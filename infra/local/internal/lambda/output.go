package lambda

import (
	"bufio"
	"io"
	"sync"
)

// maxLine is the size of a CloudWatch event: Lambda splits longer lines too.
const maxLine = 256 << 10

// output passes on the lines that functions print.
type output struct {
	mu sync.Mutex // one line at a time
	w  io.Writer
}

// copy passes on what r gives until it ends or fails, line by line, as far as keep says that it is one.
func (o *output) copy(function string, r io.Reader, keep func(line []byte) ([]byte, bool)) {
	in := bufio.NewReader(r)
	var line []byte
	pass := func() {
		if kept, ok := keep(line); ok {
			o.mu.Lock()
			// A log that cannot be written to is no reason to stop a function.
			_, _ = io.WriteString(o.w, "["+function+"] "+string(kept)+"\n")
			o.mu.Unlock()
		}
		line = line[:0]
	}
	for {
		part, more, err := in.ReadLine()
		line = append(line, part...)
		if err != nil {
			if len(line) > 0 {
				pass()
			}
			return
		}
		if more && len(line) < maxLine {
			continue
		}
		pass()
	}
}

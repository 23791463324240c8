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
	mu   sync.Mutex // one line at a time
	w    io.Writer
	hook func(function, line string)
}

// copy passes on what r gives until it ends or fails.
func (o *output) copy(function string, r io.Reader) {
	in := bufio.NewReader(r)
	var line []byte
	for {
		part, more, err := in.ReadLine()
		line = append(line, part...)
		if err != nil {
			if len(line) > 0 {
				o.write(function, line)
			}
			return
		}
		if more && len(line) < maxLine {
			continue
		}
		o.write(function, line)
		line = line[:0]
	}
}

func (o *output) write(function string, line []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	text := string(line)
	// A log that cannot be written to is no reason to stop a function.
	_, _ = io.WriteString(o.w, "["+function+"] "+text+"\n")
	if o.hook != nil {
		o.hook(function, text)
	}
}

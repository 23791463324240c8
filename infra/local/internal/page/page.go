// Package page serves the page on which the local stack shows what flows through it.
//
// The page is a few embedded files; nothing comes from elsewhere, and a content security policy says
// so. It learns what happens from one stream of server-sent events: "flows" are the flows that have
// changed, each complete as it is now, and "status" is the rest, sent when it differs from the last.
// So a page that reconnects, or that is too slow for what happens, shows the present and no backlog.
// Configs and what waits it reads, and changes, with the API, as anybody would with an organization's key.
package page

import (
	"bytes"
	"context"
	"embed"
	"encoding/json"
	"fmt"
	"io/fs"
	"net/http"
	"time"

	"github.com/docuhook/docuhook/infra/local/internal/journal"
)

//go:embed files
var embedded embed.FS

const (
	flowsPause     = 50 * time.Millisecond // between two events of flows, at least
	statusInterval = 500 * time.Millisecond
	reconnectAfter = time.Second
)

// Options configure the page.
type Options struct {
	Journal *journal.Journal
	// Status returns what the page shows beside the flows; it is encoded as JSON.
	Status func(context.Context) (any, error)
	// Closing is closed when the streams of events are to end.
	Closing <-chan struct{}
}

// Handler serves the page at / and its files and events beside it.
func Handler(options Options) http.Handler {
	files, err := fs.Sub(embedded, "files")
	if err != nil {
		panic(err) // cannot happen: the folder is embedded above
	}
	static := http.FileServerFS(files)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /events", options.serveEvents)
	mux.HandleFunc("GET /", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "+
			"connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Referrer-Policy", "no-referrer")
		w.Header().Set("Cache-Control", "no-cache")
		static.ServeHTTP(w, r)
	})
	return mux
}

// serveEvents sends events until the page or the stack goes away.
func (o Options) serveEvents(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	stream := http.NewResponseController(w)
	if _, err := fmt.Fprintf(w, "retry: %d\n\n", reconnectAfter.Milliseconds()); err != nil {
		return
	}
	watch := o.Journal.Subscribe()
	defer watch.Close()
	ticker := time.NewTicker(statusInterval)
	defer ticker.Stop()
	var last []byte
	for {
		status, err := o.status(r.Context())
		if err == nil && !bytes.Equal(status, last) {
			last = status
			err = send(w, "status", status)
		}
		if err != nil || stream.Flush() != nil {
			return
		}
		for tick := false; !tick; {
			select {
			case <-r.Context().Done():
				return
			case <-o.Closing:
				return
			case <-ticker.C:
				tick = true
			case <-watch.Changed():
				flows, err := json.Marshal(watch.Take())
				if err != nil || send(w, "flows", flows) != nil || stream.Flush() != nil {
					return
				}
				if !o.pause(r.Context(), flowsPause) {
					return
				}
			}
		}
	}
}

// pause waits, and reports false if there is nothing to wait for any more.
func (o Options) pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
	case <-o.Closing:
	}
	return false
}

func (o Options) status(ctx context.Context) ([]byte, error) {
	status, err := o.Status(ctx)
	if err != nil {
		return nil, err
	}
	return json.Marshal(status)
}

// send writes an event. JSON has no line breaks outside of strings, and inside they are escaped.
func send(w http.ResponseWriter, event string, data []byte) error {
	_, err := fmt.Fprintf(w, "event: %s\ndata: %s\n\n", event, data)
	return err
}

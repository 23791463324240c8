package browser

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"syscall"
	"testing"
	"time"
)

// This file is a client of the W3C WebDriver protocol, as much of it as the tests need.

// patience is how long the browser waits for something to appear.
const patience = time.Minute

// driver is a running chromedriver.
type driver struct{ url string }

// startDriver starts chromedriver on a free port; it and its browsers end with the test.
func startDriver(t *testing.T, path string) *driver {
	t.Helper()
	command := exec.Command(path, "--port=0")
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	out, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		syscall.Kill(-command.Process.Pid, syscall.SIGKILL)
		command.Wait()
	})
	lines := bufio.NewScanner(out)
	started := regexp.MustCompile(`started successfully on port (\d+)`)
	for lines.Scan() {
		if match := started.FindStringSubmatch(lines.Text()); match != nil {
			go io.Copy(io.Discard, out)
			return &driver{"http://127.0.0.1:" + match[1]}
		}
	}
	t.Fatalf("%s ended without serving", path)
	return nil
}

// tab is a browser with one page.
type tab struct {
	t       *testing.T
	url     string // of the session
	context context.Context
}

// open starts a browser with a profile of its own.
func (d *driver) open(t *testing.T, chromium string) *tab {
	t.Helper()
	b := &tab{t: t, url: d.url + "/session", context: t.Context()}
	var session struct{ SessionID string }
	b.call("POST", "", map[string]any{"capabilities": map[string]any{"alwaysMatch": map[string]any{
		"browserName":       "chrome",
		"timeouts":          map[string]any{"script": patience.Milliseconds()},
		"goog:loggingPrefs": map[string]string{"browser": "ALL"},
		"goog:chromeOptions": map[string]any{
			"binary": chromium,
			"args": []string{
				"--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-quic", "--no-first-run",
				"--disable-background-networking", "--disable-component-update", "--disable-sync", "--user-data-dir=" + t.TempDir(),
			},
		},
	}}}, &session)
	b.url += "/" + session.SessionID
	t.Cleanup(func() {
		b.context = context.Background() // that of the test has ended
		b.call("DELETE", "", nil, nil)
	})
	return b
}

// call makes a request of the protocol and decodes the value of its answer.
func (b *tab) call(method, path string, body, value any) {
	b.t.Helper()
	var payload io.Reader
	if method == "POST" {
		if body == nil {
			body = struct{}{}
		}
		raw, err := json.Marshal(body)
		if err != nil {
			b.t.Fatal(err)
		}
		payload = bytes.NewReader(raw)
	}
	request, err := http.NewRequestWithContext(b.context, method, b.url+path, payload)
	if err != nil {
		b.t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		b.t.Fatal(err)
	}
	defer response.Body.Close()
	raw, err := io.ReadAll(response.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	var answer struct{ Value json.RawMessage }
	if err := json.Unmarshal(raw, &answer); err != nil {
		b.t.Fatalf("%s %s answered %s", method, path, raw)
	}
	if response.StatusCode != http.StatusOK {
		var problem struct{ Error, Message string }
		json.Unmarshal(answer.Value, &problem)
		b.t.Fatalf("%s %s: %s: %s", method, path, problem.Error, problem.Message)
	}
	if value != nil {
		if err := json.Unmarshal(answer.Value, value); err != nil {
			b.t.Fatal(err)
		}
	}
}

func (b *tab) visit(url string) {
	b.t.Helper()
	b.call("POST", "/url", map[string]string{"url": url}, nil)
}

// element is how the protocol names an element.
type element map[string]string

func (e element) id() string { return e["element-6066-11e4-a52e-4f735466cecf"] }

// await waits until the first element that matches the selector shows the texts, without polling, and returns it.
func (b *tab) await(selector string, texts ...string) element {
	b.t.Helper()
	var found element
	script := `
		const [selector, texts, patience, done] = arguments;
		const check = () => {
			const found = document.querySelector(selector);
			if (!found || !texts.every(text => found.innerText.includes(text))) return;
			observer.disconnect();
			clearTimeout(timer);
			done(found);
		};
		const observer = new MutationObserver(check);
		observer.observe(document, {subtree: true, childList: true, attributes: true, characterData: true});
		const timer = setTimeout(() => { observer.disconnect(); done(null); }, patience);
		check();`
	arguments := []any{selector, append([]string{}, texts...), patience.Milliseconds() * 9 / 10}
	b.call("POST", "/execute/async", map[string]any{"script": script, "args": arguments}, &found)
	if found == nil {
		b.t.Fatalf("nothing matches %s and shows %q on\n%s", selector, texts, b.text("body"))
	}
	return found
}

// click clicks, as a person would, on what matches, once it is in the middle of the window: it must be visible and not
// be covered.
func (b *tab) click(selector string) {
	b.t.Helper()
	found := b.await(selector)
	b.call("POST", "/execute/sync", map[string]any{
		"script": "arguments[0].scrollIntoView({block: 'center'})", "args": []any{found},
	}, nil)
	b.call("POST", "/element/"+found.id()+"/click", nil, nil)
}

// fill types a text into a field in place of what it holds.
func (b *tab) fill(selector, text string) {
	b.t.Helper()
	id := b.await(selector).id()
	b.call("POST", "/element/"+id+"/clear", nil, nil)
	b.call("POST", "/element/"+id+"/value", map[string]string{"text": text}, nil)
}

// text is what a person can read of what matches.
func (b *tab) text(selector string) (text string) {
	b.t.Helper()
	b.await(selector)
	quoted, err := json.Marshal(selector)
	if err != nil {
		b.t.Fatal(err)
	}
	b.evaluate("return document.querySelector("+string(quoted)+").innerText", &text) // at once: a card may be drawn anew at any time
	return text
}

// evaluate runs a script and decodes what it returns.
func (b *tab) evaluate(script string, value any) {
	b.t.Helper()
	b.call("POST", "/execute/sync", map[string]any{"script": script, "args": []any{}}, value)
}

// command is one of the browser's own, of Chromium's protocol for its developers.
func (b *tab) command(name string, parameters map[string]any) {
	b.t.Helper()
	b.call("POST", "/goog/cdp/execute", map[string]any{"cmd": name, "params": parameters}, nil)
}

// press presses a key, by its name.
func (b *tab) press(key string) {
	b.t.Helper()
	codes := map[string]string{"Tab": "\uE004", "Enter": "\uE007", "Escape": "\uE00C"}
	b.call("POST", "/actions", map[string]any{"actions": []any{map[string]any{
		"type": "key", "id": "keyboard", "actions": []any{
			map[string]string{"type": "keyDown", "value": codes[key]}, map[string]string{"type": "keyUp", "value": codes[key]},
		},
	}}}, nil)
}

// resize makes the page so wide, whatever the window's frame, in a light or a dark scheme.
func (b *tab) resize(width, height int, scheme string) {
	b.t.Helper()
	b.command("Emulation.setDeviceMetricsOverride", map[string]any{
		"width":             width,
		"height":            height,
		"deviceScaleFactor": 1,
		"mobile":            width < 600,
	})
	b.command("Emulation.setEmulatedMedia", map[string]any{"features": []map[string]string{
		{"name": "prefers-color-scheme", "value": scheme},
		{"name": "prefers-reduced-motion", "value": "reduce"}, // what moves cannot be clicked or read reliably
	}})
}

// screenshot writes a picture of the window, or of the whole page, into a directory; "" is none.
func (b *tab) screenshot(directory, name string, whole bool) {
	b.t.Helper()
	if directory == "" {
		return
	}
	var taken struct{ Data []byte }
	b.call("POST", "/goog/cdp/execute", map[string]any{"cmd": "Page.captureScreenshot", "params": map[string]any{
		"captureBeyondViewport": whole,
	}}, &taken)
	if err := os.WriteFile(filepath.Join(directory, name+".png"), taken.Data, 0o600); err != nil {
		b.t.Fatal(err)
	}
}

// execute runs an asynchronous script and decodes what it passes to done.
func (b *tab) execute(script string, value any) {
	b.t.Helper()
	script = "const done = arguments[0];" + script
	b.call("POST", "/execute/async", map[string]any{"script": script, "args": []any{}}, value)
}

// copied is what a click on what matches puts into the clipboard.
func (b *tab) copied(selector string) (text string) {
	b.t.Helper()
	b.execute("navigator.clipboard.writeText('').then(done)", new(any))
	b.click(selector)
	b.execute(`(async () => {
		let text = "";
		while (text === "") text = await navigator.clipboard.readText();
		done(text);
	})()`, &text)
	return text
}

// complaints are the errors in the browser's console: scripts, and what the security policy forbids.
func (b *tab) complaints() []string {
	b.t.Helper()
	var entries []struct{ Level, Message string }
	b.call("POST", "/se/log", map[string]string{"type": "browser"}, &entries)
	var found []string
	for _, e := range entries {
		if e.Level == "SEVERE" {
			found = append(found, fmt.Sprint(e.Level, " ", e.Message))
		}
	}
	return found
}

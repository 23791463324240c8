// Package browser tests the local stack's page in a real browser: it clicks as a person would and
// looks at what a person would see. It needs Chromium and chromedriver on the PATH.
package browser

import (
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/docuhook/docuhook/infra/local/localtest"
	"github.com/docuhook/docuhook/shared/signature"
)

var (
	wanted      = flag.Bool("browser", false, "run the tests")
	screenshots = flag.String("screenshots", "", "write pictures of the page into this `directory`")
	axe         = flag.String("axe", "", "the `script` of axe, with which the page is checked for accessibility")
)

// browsers returns the paths of chromedriver and of Chromium. Without -browser it skips the test.
func browsers(t *testing.T) (chromedriver, chromium string) {
	t.Helper()
	if !*wanted {
		t.Skip("make browser runs this: it needs a browser")
	}
	chromedriver, err := exec.LookPath("chromedriver")
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil && chromium == "" {
			chromium = path
		}
	}
	if err == nil && chromium != "" {
		return chromedriver, chromium
	}
	t.Fatal("chromium and chromedriver are not both on the PATH")
	return "", ""
}

// change changes a document's status with the form.
func (b *tab) change(document, status string) {
	b.t.Helper()
	b.fill("#change input[name=id]", document)
	b.click("#statuses button[value=" + status + "]")
}

// of is the selector of a part of a document's flow.
func of(document, part string) string {
	return fmt.Sprintf("[data-document=%q] %s", document, part)
}

// wantFits checks, on a wide and on a narrow screen and in both schemes, that nothing is wider than the page and that
// axe finds nothing that keeps anybody from using it.
func (b *tab) wantFits(state string) {
	b.t.Helper()
	script, err := os.ReadFile(*axe)
	if err != nil {
		b.t.Fatal(err)
	}
	b.evaluate(string(script), nil)
	for _, size := range []struct {
		name          string
		width, height int
	}{{"1280", 1280, 900}, {"390", 390, 844}} {
		for _, scheme := range []string{"light", "dark"} {
			b.resize(size.width, size.height, scheme)
			var wide int
			b.evaluate("return document.documentElement.scrollWidth", &wide)
			if wide > size.width {
				b.t.Errorf("%s: the page is %d px wide in a window of %d px", state, wide, size.width)
			}
			var violations []string
			b.execute(`axe.run().then(found => done(found.violations.map(v =>
				v.id + ": " + v.nodes.map(n => n.target + " " + n.failureSummary).join("; "))))`, &violations)
			for _, v := range violations {
				b.t.Errorf("%s, %s, %s: %s", state, size.name, scheme, v)
			}
			b.screenshot(*screenshots, state+"-"+size.name+"-"+scheme, size.width < 600)
		}
	}
	b.resize(1280, 900, "light")
}

func TestPageShowsTheWholePath(t *testing.T) {
	chromedriver, chromium := browsers(t)
	// The fourth and the fifth attempt are due later than a message may be delayed. There is half a minute to look at
	// the delivery while it waits for the fourth.
	api := localtest.Start(t, "-time-scale", "200", "-parameter", "RetryDelays=10,700,6000,1200")
	b := startDriver(t, chromedriver).open(t, chromium)
	b.resize(1280, 900, "light")
	b.visit(api + "/_local/")
	b.await("#link[data-state=live]")
	b.await(of("doc_demo", "[data-outcome=delivered]"))

	b.change("doc_1", "processed")
	b.await(of("doc_1", "[data-outcome=delivered] .try[data-result='204']"))
	b.click(of("doc_1", ".try > summary"))
	b.await(of("doc_1", ".try[open]"),
		"Token and both signatures verified", "webhook-signature", `"document_id": "doc_1"`, "Idempotency-Key")
	b.wantFits("delivered")
	b.click(of("doc_1", ".try > summary"))

	b.click("[data-behaviour=fail]")
	b.await("[data-behaviour=fail][aria-pressed=true]")
	b.change("doc_2", "failed")
	b.await(of("doc_2", "[data-outcome=retrying] .tries:has(.try:nth-of-type(2)[data-result='500']) ~ .messages[data-waits=RetryQueue]"))
	b.screenshot(*screenshots, "retrying", false)
	b.await(of("doc_2", "[data-outcome=retrying] .tries:has(.try:nth-of-type(3)[data-result='500']) ~ .messages[data-waits=log]"))
	b.await("[data-waiting='1']")
	b.click(of("doc_2", ".messages > summary"))
	b.await(of("doc_2", ".delivery"), "the delivery waits in the log", "next attempt in ")
	b.await("#waiting", "doc_2", "failed", "next attempt in ")
	b.wantFits("waiting")
	b.await(of("doc_2", ".try:nth-of-type(5)[data-result='500']"))
	b.await(of("doc_2", "[data-outcome=dead_letter] .messages[open]")) // as it was left
	b.await("[data-queue=DeliveryDeadLetterQueue][data-total='1']")
	b.await(of("doc_2", ".messages"), "moved from RetryQueue to DeliveryDeadLetterQueue", "receive 5",
		"Attempt 2 of the first round (status change), sent by deliver, due at ",
		"Attempt 5 of the first round (status change), brought by the sweep, due at ")
	b.await("[data-waiting='0']")
	b.wantFits("dead")
	b.click(of("doc_2", ".messages > summary"))
	b.resize(1280, 1040, "light")
	b.evaluate("scrollTo(0, 0)", nil)
	b.screenshot(*screenshots, "page", false) // the picture in the README

	b.click("[data-behaviour=succeed]")
	b.await("[data-behaviour=succeed][aria-pressed=true]")
	b.click("[data-redrive=DeliveryDeadLetterQueue]:enabled")
	b.await(of("doc_2", "[data-outcome=delivered] .try:nth-of-type(6)[data-result='204']"))
	b.await("[data-queue=DeliveryDeadLetterQueue][data-total='0']")

	b.click(of("doc_2", ".resend"))
	b.await(of("doc_2", "[data-outcome=delivered] .try:nth-of-type(7)[data-result='204']"))
	b.await(of("doc_2", ".delivery"), "another round by a redrive", "another round by a resend")

	// What waits is sent at once when somebody asks for it.
	b.click("[data-behaviour=limit]")
	b.await("[data-behaviour=limit][aria-pressed=true]")
	b.change("doc_waits", "processed")
	b.await(of("doc_waits", "[data-outcome=retrying] .tries:has(.try:nth-of-type(3)[data-result='429']) ~ .messages[data-waits=log]"))
	b.await("[data-waiting='1'] li[data-delivery] button")
	b.click("[data-behaviour=succeed]")
	b.await("[data-behaviour=succeed][aria-pressed=true]")
	b.click("#waiting li[data-delivery] button")
	b.await(of("doc_waits", "[data-outcome=delivered] .try:nth-of-type(3) ~ .round ~ .try[data-result='204']"))
	b.await("[data-waiting='0']")

	b.click("[data-behaviour=gone]")
	b.await("[data-behaviour=gone][aria-pressed=true]")
	b.change("doc_gone", "processed")
	b.await(of("doc_gone", ".try[data-result='410']"))
	b.await("#configs [data-state='endpoint gone']")
	b.click("[data-behaviour=hang]")
	b.await("[data-behaviour=hang][aria-pressed=true]")
	b.click("#configs [data-do=active]")
	b.await("#configs [data-state=active]")
	b.change("doc_3", "processed")
	b.await(of("doc_3", "[data-outcome=attempting] .try[data-result=running]"))
	b.wantFits("hanging")
	b.click("[data-behaviour=succeed]")
	b.await(of("doc_3", "[data-outcome=delivered] .try[data-result='204']"))

	// Of a config that the page registers for it, the demo's endpoint learns the credentials.
	b.click("#register > summary")
	b.fill("#register input[name=url]", b.text("#endpoint-url")+"/second")
	b.click("#register form button")
	b.await("#configs .registered:nth-child(2) [data-credential=secret]")
	b.change("doc_both", "processed")
	for _, nth := range []string{"2", "3"} {
		b.await(of("doc_both", ".delivery:nth-of-type("+nth+")[data-outcome=delivered] .try[data-result='204']"))
	}
	if text := b.text("[data-document=doc_both]"); strings.Contains(text, "not verified") {
		t.Errorf("the endpoint does not trust its second config:\n%s", text)
	}

	// Nobody's text is markup.
	hostile := `<img src=x onerror=alert(1)>`
	b.change(hostile, "processed")
	b.await(of(hostile, "[data-outcome=delivered] .try[data-result='204']"))
	b.click(of(hostile, ".try > summary"))
	if text := b.text("#flows article:first-child"); !strings.Contains(text, hostile) {
		t.Errorf("the hostile name is shown as\n%s", text)
	}
	var images int
	b.evaluate("return document.querySelectorAll('main img').length", &images)
	if images > 0 {
		t.Error("a document's name has become an element")
	}

	if complaints := b.complaints(); len(complaints) > 0 {
		t.Errorf("the browser complains:\n%s", strings.Join(complaints, "\n"))
	}
}

// request is one that an endpoint has received.
type request struct {
	url, body string
	header    http.Header
}

// put writes a document, as somebody beside the page would.
func put(t *testing.T, api, document, body string) {
	t.Helper()
	change, err := http.NewRequestWithContext(t.Context(), "PUT", api+"/_local/documents/"+document, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(change)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if response.StatusCode != http.StatusOK {
		t.Fatalf("writing a document answered %s", response.Status)
	}
}

func TestPageWithoutTheDemo(t *testing.T) {
	chromedriver, chromium := browsers(t)
	api := localtest.Start(t, "-time-scale", "200", "-demo=false", "-organization", "org_1=key_1", "-organization", "org_2=key_2")
	received := make(chan request, 10)
	endpoint := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		received <- request{url: r.URL.String(), header: r.Header, body: string(body)}
		w.WriteHeader(http.StatusAccepted)
	}))
	t.Cleanup(endpoint.Close)
	const registered = "#configs .registered"
	b := startDriver(t, chromedriver).open(t, chromium)
	b.resize(1280, 900, "light")
	b.visit(api + "/_local/")
	b.await("#link[data-state=live]")
	b.wantFits("empty")
	var hidden bool
	b.evaluate("return document.getElementById('endpoint').hidden", &hidden)
	if !hidden {
		t.Error("there is no endpoint to control")
	}

	b.click("#change select option:nth-child(2)")
	b.change("doc_1", "processed")
	b.await(of("doc_1", "[data-outcome=unwanted]"))
	if text := b.text(of("doc_1", ".delivery")); !strings.Contains(text, "recorded, nobody wanted it") || !strings.Contains(text, "org_2") {
		t.Errorf("a change that nobody subscribes to shows\n%s", text)
	}

	b.click("#register > summary")
	b.fill("#register input[name=url]", "ftp://127.0.0.1/")
	b.click("#register select option:nth-child(2)")
	b.click("#register button")
	b.await("#notice.bad:not([hidden])")
	b.await("#notice", "url must begin with http")
	b.fill("#register input[name=url]", endpoint.URL+"/hook?by=page")
	b.fill("#register input[name=description]", "Bookkeeping")
	b.click("#register input[value=processed]") // which leaves failed
	b.click("#register button")
	b.await(registered + "[data-state=active]")
	b.await(registered, endpoint.URL+"/hook?by=page", "Bookkeeping", "org_2", "whtok_", "whsec_")
	secret := b.text(registered + " [data-credential=secret]")
	b.command("Browser.grantPermissions", map[string]any{"permissions": []string{"clipboardReadWrite", "clipboardSanitizedWrite"}})
	if got := b.copied("[data-focus$='/secret']"); got != secret {
		t.Errorf("what is copied is %q, want the secret %q", got, secret)
	}

	b.change("doc_2", "failed")
	b.await(of("doc_2", "[data-outcome=delivered] .try[data-result='202']"))
	b.click(of("doc_2", ".try > summary"))
	b.await(of("doc_2", ".try[open] pre"))
	b.await(of("doc_2", ".try[open]"), "X-Webhook-Token", "Idempotency-Key", `"document_id": "doc_2"`, "It is what was sent")
	b.wantFits("endpoints")
	first := <-received
	for _, copied := range []struct {
		button string
		fresh  bool
	}{{"curl", false}, {"fresh", true}} {
		command := b.copied(of("doc_2", "[data-focus$='/"+copied.button+"']"))
		if out, err := exec.CommandContext(t.Context(), "sh", "-c", command).CombinedOutput(); err != nil {
			t.Fatalf("%s\n%v\n%s", command, err, out)
		}
		again := <-received
		if again.body != first.body || again.url != "/hook?by=page" {
			t.Errorf("curl sends %q to %s, want %q", again.body, again.url, first.body)
		}
		for name, values := range first.header {
			changes := copied.fresh && slices.Contains([]string{"Webhook-Timestamp", "Webhook-Signature"}, name)
			if got := again.header[name]; slices.Equal(got, values) == changes {
				t.Errorf("%s, %s: sent was %q, curl sends %q", copied.button, name, values, got)
			}
		}
		if err := signature.Verify(again.header, []byte(again.body), signature.Credentials{
			Token: signature.Secret(again.header.Get(signature.TokenHeader)), Secret: signature.Secret(secret),
		}); err != nil {
			t.Error(err)
		}
	}
	b.click(of("doc_2", ".try > summary"))

	b.click(registered + " [data-do=test]")
	b.await("[data-status=failed]:not([data-document=doc_2]) [data-outcome=delivered]")
	b.click(registered + " [data-do=rotate]")
	b.await(registered + " [data-until]")
	if got := b.text(registered + " [data-credential=secret]"); got == secret || !strings.HasPrefix(got, "whsec_") {
		t.Errorf("after the rotation the secret is shown as %q", got)
	}
	b.click(registered + " [data-do=active]")
	b.await(registered + "[data-state=paused] [data-do=test]:disabled")
	b.change("doc_3", "failed")
	b.await(of("doc_3", "[data-outcome=unwanted]"))
	b.click(registered + " [data-do=active]")
	b.await(registered + "[data-state=active]")

	shown := func(want ...string) {
		t.Helper()
		var got []string
		b.evaluate("return [...document.querySelectorAll('.flow:not([hidden])')].map(f => f.dataset.document)", &got)
		if slices.Sort(got); !slices.Equal(got, want) {
			t.Errorf("shown are %v, want %v", got, want)
		}
	}
	b.click("#filter select[name=outcome] option[value=unwanted]")
	shown("doc_1", "doc_3")
	b.click("#filter select[name=status] option[value=failed]")
	shown("doc_3")
	b.await("#count", "1 of the last 4 events")
	b.wantFits("filtered")
	b.fill("#filter input[name=document]", "DOC_1")
	shown()
	b.await("#empty", "No event fits the filter")
	b.click("#filter select[name=outcome] option[value='']")
	b.click("#filter select[name=status] option[value='']")
	shown("doc_1")
	b.fill("#filter input[name=document]", "doc")
	b.click("#filter select[name=config] option:nth-child(2)")
	b.await("#count", "2 of the last 4 events") // doc_2 and the test event
	b.click("#filter select[name=config] option:nth-child(1)")

	// With the keyboard alone: through the links at the top to the field for a document, and the first of its buttons.
	b.evaluate("document.activeElement.blur(); scrollTo(0, 0)", nil)
	for range 4 + 1 + 1 + 1 { // links, document, organization, the first status
		b.press("Tab")
	}
	b.fill("#change input[name=id]", "doc_keyboard")
	b.evaluate("document.querySelector('#change select').focus()", nil)
	b.press("Tab")
	b.press("Enter")
	b.await(of("doc_keyboard", "[data-outcome=unwanted]"))
	var focused string
	b.evaluate("return document.activeElement.value", &focused)
	if focused != "pending" {
		t.Errorf("after it was pressed the focus is on %q", focused)
	}

	// What comes while somebody reads further down is counted, and does not move what is read.
	b.resize(390, 844, "light")
	b.evaluate("document.querySelector('.flow:last-child').scrollIntoView()", nil)
	for _, document := range []string{"doc_4", "doc_5"} {
		put(t, api, document, `{"status":"pending","organization_id":"org_2"}`)
		b.await(of(document, "[data-outcome=unwanted]"))
	}
	b.await("#unseen", "2 new")
	b.screenshot(*screenshots, "unseen", false)
	b.click("#unseen")
	b.await("#unseen[hidden]")
	if complaints := b.complaints(); slices.ContainsFunc(complaints, func(c string) bool { return !strings.Contains(c, "422") }) {
		t.Errorf("the browser complains:\n%s", strings.Join(complaints, "\n"))
	}
}

func TestPageEditsAndDeletesAnEndpoint(t *testing.T) {
	chromedriver, chromium := browsers(t)
	api := localtest.Start(t, "-time-scale", "200")
	b := startDriver(t, chromedriver).open(t, chromium)
	b.resize(1280, 900, "light")
	b.visit(api + "/_local/")
	b.await(of("doc_demo", "[data-outcome=delivered]"))
	wantFocus := func(want string) {
		t.Helper()
		var got string
		b.evaluate("return document.activeElement.name || document.activeElement.innerText", &got)
		if got != want {
			t.Errorf("the focus is on %q, want %q", got, want)
		}
	}

	// With the keyboard alone, once the button has the focus.
	b.await("#configs [data-do=edit]")
	b.evaluate("document.querySelector('#configs [data-do=edit]').focus()", nil)
	b.press("Enter")
	b.await("#edit[open]")
	wantFocus("url")
	b.press("Escape")
	b.await("#edit:not([open])")
	wantFocus("Edit")
	b.press("Enter")
	b.fill("#edit [name=url]", "http://127.0.0.1/\"quoted\"")
	b.press("Enter")
	b.await("#edit[open] .problem:not(:empty)")
	b.await("#edit .problem", `url must have " percent-encoded`)
	b.wantFits("editing")
	moved := b.text("#endpoint-url") + "/moved"
	b.fill("#edit [name=url]", moved)
	b.fill("#edit [name=description]", "Moved")
	b.click("#edit [value=failed]") // which is subscribed to no more
	b.click("#edit button:not(.cancel)")
	b.await("#edit:not([open])")
	wantFocus("Edit")
	b.await("#configs .registered", moved, "Moved", "processed")
	b.change("doc_failed", "failed")
	b.await(of("doc_failed", "[data-outcome=unwanted]"))
	b.change("doc_moved", "processed")
	b.await(of("doc_moved", "[data-outcome=delivered] .try[data-result='204']"))
	b.click(of("doc_moved", ".try > summary"))
	b.command("Browser.grantPermissions", map[string]any{"permissions": []string{"clipboardReadWrite", "clipboardSanitizedWrite"}})
	if command := b.copied(of("doc_moved", "[data-focus$='/curl']")); !strings.Contains(command, moved) {
		t.Errorf("the webhook went elsewhere than to %s:\n%s", moved, command)
	}

	b.evaluate("document.querySelector('#configs [data-do=delete]').focus()", nil)
	b.press("Enter")
	b.await("#delete[open]")
	b.await("#delete", moved)
	b.wantFits("deleting")
	wantFocus("Cancel")
	b.press("Enter")
	b.await("#delete:not([open])")
	wantFocus("Delete")
	b.press("Enter")
	b.click("#delete button:not(.cancel)")
	b.await("#configs:not(:has(.registered))")
	b.await("#delete:not([open])")
	wantFocus("Register an endpoint")
	b.change("doc_deleted", "processed")
	b.await(of("doc_deleted", "[data-outcome=unwanted]"))
	if complaints := b.complaints(); slices.ContainsFunc(complaints, func(c string) bool { return !strings.Contains(c, "422") }) {
		t.Errorf("the browser complains:\n%s", strings.Join(complaints, "\n"))
	}
}

// Package browser tests the local stack's page in a real browser: it clicks as a person would and
// looks at what a person would see. It needs Chromium and chromedriver on the PATH.
package browser

import (
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strings"
	"testing"

	"github.com/docuhook/docuhook/infra/local/localtest"
)

var (
	wanted      = flag.Bool("browser", false, "run the tests")
	screenshots = flag.String("screenshots", "", "write pictures of the page into this `directory`")
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

// wantText fails the test if the element does not show each of the texts.
func (b *tab) wantText(selector string, texts ...string) {
	b.t.Helper()
	shown := b.text(selector)
	for _, text := range texts {
		if !strings.Contains(shown, text) {
			b.t.Errorf("%s does not show %q but\n%s", selector, text, shown)
		}
	}
}

// wantFits checks that nothing is wider than the page.
func (b *tab) wantFits(state string) {
	b.t.Helper()
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
			b.screenshot(*screenshots, state+"-"+size.name+"-"+scheme)
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
	b.wantText(of("doc_1", ".try[open]"),
		"Token and both signatures verified", "Webhook-Signature", `"document_id": "doc_1"`, "Idempotency-Key")
	b.wantFits("delivered")
	b.click(of("doc_1", ".try > summary"))

	b.click("[data-behaviour=fail]")
	b.await("[data-behaviour=fail][aria-pressed=true]")
	b.change("doc_2", "failed")
	b.await(of("doc_2", "[data-outcome=retrying] .tries:has(.try:nth-of-type(2)[data-result='500']) ~ .messages[data-waits=RetryQueue]"))
	b.screenshot(*screenshots, "retrying")
	b.await(of("doc_2", "[data-outcome=retrying] .tries:has(.try:nth-of-type(3)[data-result='500']) ~ .messages[data-waits=log]"))
	b.await("[data-waiting='1']")
	b.click(of("doc_2", ".messages > summary"))
	b.wantText(of("doc_2", ".delivery"), "the delivery waits in the log", "next attempt in ")
	b.wantFits("waiting")
	b.await(of("doc_2", ".try:nth-of-type(5)[data-result='500']"))
	b.await(of("doc_2", "[data-outcome=dead_letter] .messages[open]")) // as it was left
	b.await("[data-queue=DeliveryDeadLetterQueue][data-total='1']")
	b.wantText(of("doc_2", ".messages"), "moved from RetryQueue to DeliveryDeadLetterQueue", "receive 5",
		"Attempt 2 of the first round (status change), sent by deliver, due at ",
		"Attempt 5 of the first round (status change), brought by the sweep, due at ")
	b.await("[data-waiting='0']")
	b.wantFits("dead")
	b.click(of("doc_2", ".messages > summary"))
	b.screenshot(*screenshots, "page") // the picture in the README

	b.click("[data-behaviour=succeed]")
	b.await("[data-behaviour=succeed][aria-pressed=true]")
	b.click("[data-redrive=DeliveryDeadLetterQueue]:enabled")
	b.await(of("doc_2", "[data-outcome=delivered] .try:nth-of-type(6)[data-result='204']"))
	b.await("[data-queue=DeliveryDeadLetterQueue][data-total='0']")

	b.click(of("doc_2", ".resend"))
	b.await(of("doc_2", "[data-outcome=delivered] .try:nth-of-type(7)[data-result='204']"))
	if text := b.text(of("doc_2", ".delivery")); !strings.Contains(text, "resend") || strings.Count(text, "another round") != 2 {
		t.Errorf("the delivery shows\n%s", text)
	}

	b.click("[data-behaviour=hang]")
	b.await("[data-behaviour=hang][aria-pressed=true]")
	b.change("doc_3", "processed")
	b.await(of("doc_3", "[data-outcome=attempting] .try[data-result=running]"))
	b.wantFits("hanging")
	b.click("[data-behaviour=succeed]")
	b.await(of("doc_3", "[data-outcome=delivered] .try[data-result='204']"))

	// Nobody's text is markup.
	hostile := `<img src=x onerror=alert(1)>`
	b.change(hostile, "processed")
	b.await(of(hostile, "[data-outcome=delivered] .try[data-result='204']"))
	b.click(of(hostile, ".try > summary"))
	if text := b.text("article:first-child"); !strings.Contains(text, hostile) {
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

func TestPageWithoutTheDemo(t *testing.T) {
	chromedriver, chromium := browsers(t)
	api := localtest.Start(t, "-time-scale", "200", "-demo=false", "-organization", "org_1=key_1", "-organization", "org_2=key_2")
	endpoint := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusAccepted) }))
	t.Cleanup(endpoint.Close)
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

	body := `{"data":{"type":"webhook_config","attributes":{"url":"` + endpoint.URL + `","subscribed_statuses":["failed"]}}}`
	request, err := http.NewRequestWithContext(t.Context(), "POST", api+"/v1/webhooks/configs", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("X-Api-Key", "key_2")
	request.Header.Set("Content-Type", "application/vnd.api+json")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if response.StatusCode != http.StatusCreated {
		t.Fatalf("creating a config answered %s", response.Status)
	}
	b.change("doc_2", "failed")
	b.await(of("doc_2", "[data-outcome=delivered] .try[data-result='202']"))
	if complaints := b.complaints(); len(complaints) > 0 {
		t.Errorf("the browser complains:\n%s", strings.Join(complaints, "\n"))
	}
}

// Package steps is what the programs share: what the test tells them, and how they tell it what they have done.
package steps

import (
	"fmt"
	"net/url"
	"os"
)

// Unknown is the id of no config.
const Unknown = "01969f3c-7b00-7c3a-9d4e-5f60718293a4"

// What the test tells. SentTo is a config that has had deliveries.
var (
	API      = os.Getenv("API")
	Key      = os.Getenv("API_KEY")
	Endpoint = os.Getenv("ENDPOINT")
	Changed  = Endpoint + "/changed"
	SentTo   = os.Getenv("SENT_TO")
)

// Done tells what was done.
func Done(format string, arguments ...any) { fmt.Printf(format+"\n", arguments...) }

// Must ends the program on an error.
func Must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// True ends the program if something does not hold.
func True(holds bool, format string, arguments ...any) {
	if !holds {
		Must(fmt.Errorf(format, arguments...))
	}
}

// Cursor returns where the page begins that links.next leads to, nil if it is nil.
func Cursor(next *string) *string {
	if next == nil {
		return nil
	}
	link, err := url.Parse(*next)
	Must(err)
	after := link.Query().Get("page[after]")
	return &after
}

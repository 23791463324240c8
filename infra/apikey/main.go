// Command apikey issues, lists and revokes the keys with which organizations call the API.
//
// A key is shown once, on standard output and nowhere else; the table holds its hash.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"github.com/docuhook/docuhook/infra/deployed"
	"github.com/docuhook/docuhook/shared/apikey"
	"github.com/docuhook/docuhook/shared/dynamo"
	"github.com/docuhook/docuhook/shared/webhook"
)

const usage = `Issues, lists and revokes API keys.

    apikey issue -organization ID -name NAME [-live]
    apikey list [-organization ID]
    apikey revoke -hash HASH
    apikey revoke -key -          reads the key from standard input

The keys of the deployed stack docuhook are meant, unless flags say otherwise:

`

// Exit codes.
const (
	exitFailure = 1
	exitUsage   = 2
)

const (
	maxOrganization = 1024 // bytes; far below what fits into the tables' keys
	maxName         = 100  // characters
	tableOutput     = "ApiKeysTable"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	c := &command{in: os.Stdin, out: os.Stdout, err: os.Stderr, now: time.Now}
	os.Exit(c.run(ctx, os.Args[1:]))
}

// command is one run of the program.
type command struct {
	in       io.Reader
	out, err io.Writer
	now      func() time.Time

	stack        deployed.Flags
	table        string
	organization string
	name         string
	live         bool
	hash         string
	key          string
}

// errUsage is returned for arguments that make no sense; the text says why.
type errUsage string

func (e errUsage) Error() string { return string(e) }

// run returns the exit code.
func (c *command) run(ctx context.Context, arguments []string) int {
	err := c.do(ctx, arguments)
	var misused errUsage
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
		return 0
	case errors.As(err, &misused):
		fmt.Fprintf(c.err, "apikey: %v\nRun apikey -h for help.\n", err)
		return exitUsage
	}
	fmt.Fprintf(c.err, "apikey: %v\n", err)
	return exitFailure
}

func (c *command) do(ctx context.Context, arguments []string) error {
	operation := ""
	if len(arguments) > 0 && !strings.HasPrefix(arguments[0], "-") {
		operation, arguments = arguments[0], arguments[1:]
	}
	if err := c.parse(operation, arguments); err != nil {
		return err
	}
	loaded, err := c.stack.Config(ctx)
	if err != nil {
		return err
	}
	if c.table == "" {
		names, err := c.stack.Names(ctx, loaded, tableOutput)
		if err != nil {
			return err
		}
		c.table = names[tableOutput]
	}
	keys := &dynamo.APIKeys{Client: dynamodb.NewFromConfig(loaded), Table: c.table}
	switch operation {
	case "issue":
		return c.issue(ctx, keys)
	case "list":
		return c.list(ctx, keys)
	}
	return c.revoke(ctx, keys)
}

// parse reads the flags of an operation and checks them before anything is asked of AWS.
func (c *command) parse(operation string, arguments []string) error {
	set := flag.NewFlagSet("apikey "+operation, flag.ContinueOnError)
	set.SetOutput(io.Discard)
	c.stack.Register(set)
	set.StringVar(&c.table, "table", "", "`name` of the table of API keys, instead of the stack's")
	switch operation {
	case "issue":
		set.StringVar(&c.organization, "organization", "", "`id` of the organization that may use the key")
		set.StringVar(&c.name, "name", "", "`name` of the key, to tell keys apart")
		set.BoolVar(&c.live, "live", false, "mint a dk_live_ key instead of a dk_test_ one; both work alike")
	case "list":
		set.StringVar(&c.organization, "organization", "", "list the keys of this `id` alone")
	case "revoke":
		set.StringVar(&c.hash, "hash", "", "SHA-256 of the key in `hex`, as list shows it")
		set.StringVar(&c.key, "key", "", "`-` reads the key itself from standard input")
	}
	err := set.Parse(arguments)
	switch {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprint(c.err, usage)
		set.SetOutput(c.err)
		set.PrintDefaults()
		return err
	case operation == "":
		return errUsage("issue, list or revoke?")
	case !slices.Contains([]string{"issue", "list", "revoke"}, operation):
		return errUsage(fmt.Sprintf("there is no operation %q: issue, list or revoke?", operation))
	case err != nil:
		return errUsage(err.Error())
	case set.NArg() > 0:
		return errUsage(fmt.Sprintf("unexpected argument %q", set.Arg(0)))
	}
	switch operation {
	case "issue":
		if err := check("-organization", c.organization, len(c.organization), maxOrganization, "bytes"); err != nil {
			return err
		}
		return check("-name", c.name, utf8.RuneCountInString(c.name), maxName, "characters")
	case "revoke":
		return c.identify()
	}
	return nil
}

// check refuses a text that is missing, too long, or not what its writer will have meant.
func check(name, value string, length, most int, unit string) error {
	switch {
	case value == "":
		return errUsage(name + " is missing")
	case length > most:
		return errUsage(fmt.Sprintf("%s has %d %s, more than %d", name, length, unit, most))
	case !utf8.ValidString(value) || strings.ContainsFunc(value, unicode.IsControl) || strings.TrimSpace(value) != value:
		return errUsage(name + " must be text without control characters and without spaces around it")
	}
	return nil
}

// identify finds out the hash of the key to revoke.
func (c *command) identify() error {
	switch {
	case (c.hash == "") == (c.key == ""):
		return errUsage("revoke needs -hash or -key -")
	case c.key != "" && c.key != "-":
		return errUsage("a key on the command line ends up in the shell's history: use -key - and write it to standard input")
	case c.key == "-":
		data, err := io.ReadAll(io.LimitReader(c.in, 2*apikey.MaxLength))
		if err != nil {
			return fmt.Errorf("reading the key: %w", err)
		}
		key := strings.TrimSpace(string(data))
		if key == "" || len(key) > apikey.MaxLength {
			return errUsage("there is no key on standard input")
		}
		c.hash = apikey.Hash(key)
		return nil
	}
	c.hash = strings.ToLower(c.hash)
	if len(c.hash) != len(apikey.Hash("")) || strings.Trim(c.hash, "0123456789abcdef") != "" {
		return errUsage("-hash must be a SHA-256 in hex, 64 characters, as list shows it")
	}
	return nil
}

func (c *command) issue(ctx context.Context, keys *dynamo.APIKeys) error {
	key := apikey.Mint(c.live)
	stored := apikey.Key{Hash: apikey.Hash(key), OrganizationID: c.organization, Name: c.name, CreatedAt: webhook.At(c.now()).String()}
	if err := keys.Add(ctx, stored); err != nil {
		return err
	}
	fmt.Fprintf(c.err, "Key %s for organization %s, hash %s. It is shown this once:\n", c.name, c.organization, stored.Hash)
	if _, err := fmt.Fprintln(c.out, key); err != nil {
		return fmt.Errorf("the key could not be shown; revoke it by its hash %s: %w", stored.Hash, err)
	}
	return nil
}

func (c *command) list(ctx context.Context, keys *dynamo.APIKeys) error {
	all, err := keys.List(ctx, c.organization)
	if err != nil {
		return err
	}
	slices.SortFunc(all, func(a, b apikey.Key) int {
		return slices.Compare([]string{a.OrganizationID, a.CreatedAt, a.Hash}, []string{b.OrganizationID, b.CreatedAt, b.Hash})
	})
	table := tabwriter.NewWriter(c.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "HASH\tORGANIZATION\tNAME\tCREATED\tREVOKED")
	for _, key := range all {
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\n", key.Hash, key.OrganizationID, key.Name, key.CreatedAt, key.RevokedAt)
	}
	if err := table.Flush(); err != nil {
		return fmt.Errorf("writing the list: %w", err)
	}
	fmt.Fprintf(c.err, "%s: %d\n", c.table, len(all))
	return nil
}

func (c *command) revoke(ctx context.Context, keys *dynamo.APIKeys) error {
	err := keys.Revoke(ctx, c.hash, webhook.At(c.now()))
	if errors.Is(err, webhook.ErrNotFound) {
		return fmt.Errorf("there is no key with hash %s in %s", c.hash, c.table)
	}
	if err != nil {
		return err
	}
	fmt.Fprintf(c.err, "Key with hash %s is revoked. "+
		"API Gateway may let it pass until its memory ends (AuthorizerCacheSeconds, 60 by default).\n", c.hash)
	return nil
}

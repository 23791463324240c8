package endpoint

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"

	"golang.org/x/net/dns/dnsmessage"
)

// family returns the addresses of one kind.
func family(kind dnsmessage.Type, addresses []string) []string {
	return slices.DeleteFunc(slices.Clone(addresses), func(a string) bool {
		return strings.Contains(a, ":") != (kind == dnsmessage.TypeAAAA)
	})
}

// names is a DNS server: every name has the addresses of the next answer, the last one for ever.
// An answer of no addresses is "no such host".
type names struct {
	mu      sync.Mutex
	answers [][]string
}

func (n *names) next(kind dnsmessage.Type) []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	answer := n.answers[0]
	if len(n.answers) > 1 && kind == dnsmessage.TypeA {
		n.answers = n.answers[1:]
	}
	return answer
}

// resolver returns a resolver that asks n, over a pipe, in the form that DNS has over TCP.
func (n *names) resolver() *net.Resolver {
	return &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		client, server := net.Pipe()
		go func() {
			defer server.Close()
			for {
				length := make([]byte, 2)
				if _, err := io.ReadFull(server, length); err != nil {
					return
				}
				query := make([]byte, binary.BigEndian.Uint16(length))
				if _, err := io.ReadFull(server, query); err != nil {
					return
				}
				var message dnsmessage.Message
				if err := message.Unpack(query); err != nil {
					return
				}
				n.answer(&message)
				packed, err := message.Pack()
				if err != nil {
					return
				}
				server.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(packed))), packed...))
			}
		}()
		return client, nil
	}}
}

// answer turns a query into its answer. A counts as the look-up; AAAA gets what comes with it.
func (n *names) answer(m *dnsmessage.Message) {
	m.Response, m.RecursionAvailable, m.Additionals = true, true, nil
	question := m.Questions[0]
	addresses := n.next(question.Type)
	if len(addresses) == 0 {
		m.RCode = dnsmessage.RCodeNameError
	}
	for _, text := range family(question.Type, addresses) {
		var body dnsmessage.ResourceBody
		if address := netip.MustParseAddr(text); address.Is4() {
			body = &dnsmessage.AResource{A: address.As4()}
		} else {
			body = &dnsmessage.AAAAResource{AAAA: address.As16()}
		}
		m.Answers = append(m.Answers, dnsmessage.Resource{
			Header: dnsmessage.ResourceHeader{Name: question.Name, Type: question.Type, Class: dnsmessage.ClassINET}, Body: body,
		})
	}
}

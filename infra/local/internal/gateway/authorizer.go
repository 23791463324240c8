package gateway

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"time"
)

// identity is the key of a remembered answer.
type identity struct {
	authorizer string
	values     string // of the identity headers, which hold no line breaks
}

// verdict is an authorizer's answer.
type verdict struct {
	allowed bool
	context map[string]any
	until   time.Time
}

// authorize asks the route's authorizer and answers the request if it may not go on.
func (g *Gateway) authorize(w http.ResponseWriter, x *exchange) bool {
	authorizer := x.route.Authorizer
	var sources []string
	for _, name := range authorizer.Headers {
		value := strings.Join(x.request.Header.Values(name), ",")
		if value == "" {
			writeMessage(w, http.StatusUnauthorized, "Unauthorized")
			return false
		}
		sources = append(sources, value)
	}
	key := identity{authorizer: authorizer.Name, values: strings.Join(sources, "\n")}
	answer, remembered := g.remembered(key, x.at)
	if !remembered {
		var err error
		if answer, err = g.ask(x, sources); err != nil {
			g.fail(w, x, "asking the authorizer "+authorizer.Function, err)
			return false
		}
		g.remember(key, answer, authorizer.Cache)
	}
	if !answer.allowed {
		writeMessage(w, http.StatusForbidden, "Forbidden")
		return false
	}
	x.context = answer.context
	return true
}

func (g *Gateway) remembered(key identity, now time.Time) (verdict, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	answer, ok := g.verdicts[key]
	return answer, ok && now.Before(answer.until)
}

// remember keeps an answer, and forgets the ones that no longer count once there are many, so that
// guessed keys do not fill the memory.
func (g *Gateway) remember(key identity, answer verdict, cache time.Duration) {
	if cache <= 0 {
		return
	}
	now := g.now()
	answer.until = now.Add(cache)
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.verdicts) >= 1000 {
		for other, old := range g.verdicts {
			if !now.Before(old.until) {
				delete(g.verdicts, other)
			}
		}
	}
	g.verdicts[key] = answer
}

func (g *Gateway) ask(x *exchange, sources []string) (verdict, error) {
	payload, err := x.authorizerEvent(g, sources)
	if err != nil {
		return verdict{}, err
	}
	// API Gateway waits for an authorizer for 10 s.
	raw, err := g.invoke(x, x.route.Authorizer.Function, payload, 10*time.Second)
	if err != nil {
		return verdict{}, err
	}
	var answer struct {
		IsAuthorized *bool          `json:"isAuthorized"`
		Context      map[string]any `json:"context"`
	}
	if err := json.Unmarshal(raw, &answer); err != nil {
		return verdict{}, err
	}
	if answer.IsAuthorized == nil {
		return verdict{}, errors.New("the answer lacks isAuthorized")
	}
	return verdict{allowed: *answer.IsAuthorized, context: answer.Context}, nil
}

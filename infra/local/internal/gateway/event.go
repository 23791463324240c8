package gateway

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"mime"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"unicode/utf8"
)

// event is a request in payload format 2.0, for functions and, with type, routeArn and
// identitySource and without the body, for authorizers.
type event struct {
	Version         string            `json:"version"`
	Type            string            `json:"type,omitzero"`
	RouteARN        string            `json:"routeArn,omitzero"`
	IdentitySource  []string          `json:"identitySource,omitzero"`
	RouteKey        string            `json:"routeKey"`
	RawPath         string            `json:"rawPath"`
	RawQueryString  string            `json:"rawQueryString"`
	Cookies         []string          `json:"cookies,omitzero"`
	Headers         map[string]string `json:"headers"`
	Query           map[string]string `json:"queryStringParameters,omitzero"`
	PathParameters  map[string]string `json:"pathParameters,omitzero"`
	RequestContext  requestContext    `json:"requestContext"`
	Body            *string           `json:"body,omitzero"`
	IsBase64Encoded *bool             `json:"isBase64Encoded,omitzero"`
}

type requestContext struct {
	AccountID    string             `json:"accountId"`
	APIID        string             `json:"apiId"`
	Authorizer   *authorizerContext `json:"authorizer,omitzero"`
	DomainName   string             `json:"domainName"`
	DomainPrefix string             `json:"domainPrefix"`
	HTTP         requestContextHTTP `json:"http"`
	RequestID    string             `json:"requestId"`
	RouteKey     string             `json:"routeKey"`
	Stage        string             `json:"stage"`
	Time         string             `json:"time"`
	TimeEpoch    int64              `json:"timeEpoch"`
}

type authorizerContext struct {
	Lambda map[string]any `json:"lambda"`
}

type requestContextHTTP struct {
	Method    string `json:"method"`
	Path      string `json:"path"`
	Protocol  string `json:"protocol"`
	SourceIP  string `json:"sourceIp"`
	UserAgent string `json:"userAgent"`
}

// describe is what functions and authorizers are told alike. API Gateway decodes the path, and
// leaves the query string as it came.
func (x *exchange) describe(g *Gateway) event {
	r := x.request
	source, port, _ := net.SplitHostPort(r.Host)
	if source == "" {
		source, port = r.Host, "80"
	}
	domain := source
	client, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		client = r.RemoteAddr
	}
	prefix, _, _ := strings.Cut(domain, ".")
	e := event{
		Version:        "2.0",
		RouteKey:       x.key(),
		RawPath:        r.URL.Path,
		RawQueryString: r.URL.RawQuery,
		Headers:        map[string]string{"host": r.Host},
		Query:          queryParameters(r.URL.RawQuery),
		RequestContext: requestContext{
			AccountID:    g.account,
			APIID:        g.api,
			DomainName:   domain,
			DomainPrefix: prefix,
			HTTP: requestContextHTTP{
				Method:    r.Method,
				Path:      r.URL.Path,
				Protocol:  r.Proto,
				SourceIP:  client,
				UserAgent: r.UserAgent(),
			},
			RequestID: x.id,
			RouteKey:  x.key(),
			Stage:     "$default",
			Time:      x.at.UTC().Format("02/Jan/2006:15:04:05 +0000"),
			TimeEpoch: x.at.UnixMilli(),
		},
	}
	if len(x.parameters) > 0 {
		e.PathParameters = x.parameters
	}
	for name, values := range r.Header {
		switch name {
		case "Cookie":
			for _, value := range values {
				for cookie := range strings.SplitSeq(value, ";") {
					e.Cookies = append(e.Cookies, strings.TrimSpace(cookie))
				}
			}
		case "Connection", "Keep-Alive", "Te", "Trailer", "Transfer-Encoding", "Upgrade":
			// of this hop only
		default:
			e.Headers[strings.ToLower(name)] = strings.Join(values, ",")
		}
	}
	if len(x.body) > 0 {
		e.Headers["content-length"] = strconv.Itoa(len(x.body))
	}
	if forwarded := e.Headers["x-forwarded-for"]; forwarded != "" {
		client = forwarded + ", " + client
	}
	e.Headers["x-forwarded-for"] = client
	e.Headers["x-forwarded-port"] = port
	e.Headers["x-forwarded-proto"] = "http"
	return e
}

// event is what the route's function is invoked with.
func (x *exchange) event(g *Gateway) ([]byte, error) {
	e := x.describe(g)
	if x.route.Authorizer != nil {
		e.RequestContext.Authorizer = &authorizerContext{Lambda: x.context}
	}
	encoded := len(x.body) > 0 && !isText(x.request.Header, x.body)
	e.IsBase64Encoded = &encoded
	if len(x.body) > 0 {
		body := string(x.body)
		if encoded {
			body = base64.StdEncoding.EncodeToString(x.body)
		}
		e.Body = &body
	}
	return json.Marshal(e)
}

// authorizerEvent is what the route's authorizer is invoked with.
func (x *exchange) authorizerEvent(g *Gateway, sources []string) ([]byte, error) {
	e := x.describe(g)
	e.Type = "REQUEST"
	e.IdentitySource = sources
	e.RouteARN = fmt.Sprintf("arn:aws:execute-api:%s:%s:%s/$default/%s%s", g.region, g.account, g.api, x.route.Method, x.route.Path)
	return json.Marshal(e)
}

// isText says whether API Gateway hands a body over as it is. application/vnd.api+json is not
// among the types that it does that for.
func isText(header http.Header, body []byte) bool {
	if header.Get("Content-Encoding") != "" || !utf8.Valid(body) {
		return false
	}
	kind := header.Get("Content-Type")
	if kind == "" {
		return true
	}
	if parsed, _, err := mime.ParseMediaType(kind); err == nil {
		kind = parsed
	}
	switch kind {
	case "application/json", "application/xml", "application/javascript":
		return true
	}
	return strings.HasPrefix(kind, "text/")
}

// queryParameters decodes a query string; values of one name are joined by commas in their order.
// Pieces that cannot be decoded stay as they are.
func queryParameters(raw string) map[string]string {
	if raw == "" {
		return nil
	}
	result := map[string]string{}
	for piece := range strings.SplitSeq(raw, "&") {
		if piece == "" {
			continue
		}
		name, value, _ := strings.Cut(piece, "=")
		name, value = unescape(name), unescape(value)
		if earlier, ok := result[name]; ok {
			value = earlier + "," + value
		}
		result[name] = value
	}
	return result
}

func unescape(text string) string {
	decoded, err := url.QueryUnescape(text)
	if err != nil {
		return text
	}
	return decoded
}

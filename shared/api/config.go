package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/url"
	"slices"
	"time"

	"github.com/docuhook/docuhook/shared/jsonapi"
	"github.com/docuhook/docuhook/shared/keyring"
	"github.com/docuhook/docuhook/shared/signature"
	"github.com/docuhook/docuhook/shared/webhook"
)

const (
	configsPath = "/v1/webhooks/configs"
	configType  = "webhook_config"
)

// Limits of a rotation's overlap.
const (
	defaultOverlap = 24 * time.Hour
	maxOverlap     = 7 * 24 * time.Hour
)

// Sealer seals the credentials of a config.
type Sealer interface {
	Seal(ctx context.Context, credentials signature.Credentials, organizationID, configID string) (string, error)
}

// Keyring seals and opens the credentials of a config.
type Keyring interface {
	Sealer
	// Open errors with keyring.ErrSealed or keyring.ErrUnknownKey if that can never work.
	Open(ctx context.Context, sealed, organizationID, configID string) (signature.Credentials, error)
}

// ConfigReader finds a config; a deleted one, and one of another organization, is webhook.ErrNotFound.
type ConfigReader interface {
	Get(ctx context.Context, organizationID, id string) (*webhook.Config, error)
}

// ConfigUpdater changes configs.
type ConfigUpdater interface {
	ConfigReader
	// Update writes c, if the stored config still has c's version, and counts that up. It errors
	// with webhook.ErrConflict or webhook.ErrNotFound.
	Update(ctx context.Context, c *webhook.Config) error
}

type configAttributes struct {
	ResourceType            string           `json:"resource_type"`
	URL                     string           `json:"url"`
	Description             string           `json:"description"`
	SubscribedStatuses      []webhook.Status `json:"subscribed_statuses"`
	IsActive                bool             `json:"is_active"`
	DeactivatedReason       *string          `json:"deactivated_reason"`
	ConsecutiveFailures     int              `json:"consecutive_failures"`
	FailingSince            webhook.Time     `json:"failing_since"`
	SecretPrefix            string           `json:"secret_prefix"`
	CustomHeaderNames       []string         `json:"custom_header_names"`
	PreviousSecretExpiresAt webhook.Time     `json:"previous_secret_expires_at"`
	CreatedAt               webhook.Time     `json:"created_at"`
	UpdatedAt               webhook.Time     `json:"updated_at"`
	Token                   string           `json:"token,omitempty"`
	Secret                  string           `json:"secret,omitempty"`
}

// show returns the attributes of a config without its credentials.
func show(c *webhook.Config, now time.Time) *configAttributes {
	attributes := &configAttributes{
		ResourceType:        "document",
		URL:                 c.URL,
		Description:         c.Description,
		SubscribedStatuses:  c.SubscribedStatuses,
		IsActive:            c.Active,
		ConsecutiveFailures: c.FailureCount,
		FailingSince:        c.FailingSince,
		SecretPrefix:        c.SecretPrefix,
		CustomHeaderNames:   append([]string{}, c.CustomHeaderNames...),
		CreatedAt:           c.CreatedAt,
		UpdatedAt:           c.UpdatedAt,
	}
	if c.DeactivatedReason != "" {
		attributes.DeactivatedReason = &c.DeactivatedReason
	}
	if c.Overlapping(now) {
		attributes.PreviousSecretExpiresAt = c.PreviousExpiresAt
	}
	return attributes
}

func configResource(id string, attributes *configAttributes) jsonapi.Resource {
	return jsonapi.Resource{
		Type:       configType,
		ID:         id,
		Attributes: attributes,
		Links:      &jsonapi.Links{Self: configsPath + "/" + id},
	}
}

// configResponse answers with a config. Only create and rotate pass credentials.
func configResponse(status int, c *webhook.Config, now time.Time, credentials *signature.Credentials) *Response {
	attributes := show(c, now)
	if credentials != nil {
		attributes.Token, attributes.Secret = credentials.Token.Reveal(), credentials.Secret.Reveal()
	}
	return single(status, configResource(c.ID, attributes))
}

// writable describes the attributes of a config that a request may set; what it says is set on c, and the values of
// custom headers on headers, which stay nil if the request has none.
func writable(
	c *webhook.Config, headers *map[string]signature.Secret, required bool, policy webhook.URLPolicy,
) map[string]jsonapi.Attribute {
	return map[string]jsonapi.Attribute{
		"url": {Required: required, Text: func(value string) error {
			c.URL = value
			return validated(c, policy, "url")
		}},
		"description": {Text: func(value string) error {
			c.Description = value
			return validated(c, policy, "description")
		}},
		"subscribed_statuses": {Required: required, Texts: func(names []string) error {
			c.SubscribedStatuses = []webhook.Status{}
			for _, name := range names {
				c.SubscribedStatuses = append(c.SubscribedStatuses, webhook.Status(name))
			}
			return validated(c, policy, "subscribed_statuses")
		}},
		"is_active": {Bool: func(value bool) error {
			c.Active = value
			return nil
		}},
		"custom_headers": {TextMap: func(values map[string]string) error {
			c.CustomHeaderNames = slices.Sorted(maps.Keys(values))
			*headers = map[string]signature.Secret{}
			for name, value := range values {
				(*headers)[name] = signature.Secret(value)
			}
			return invalid(webhook.CheckCustomHeaders(values))
		}},
	}
}

// withReadOnly adds the attributes of a config that cannot be set. A request may repeat the values that
// are shown, so that a client can send back what it has read; nil stands for a config that is yet to be.
func withReadOnly(attributes map[string]jsonapi.Attribute, shown *configAttributes) map[string]jsonapi.Attribute {
	values := map[string]json.RawMessage{}
	text, _ := json.Marshal(configAttributes{Token: "-", Secret: "-"}) // strings, numbers and times: it cannot fail
	_ = json.Unmarshal(text, &values)
	for name := range values {
		values[name] = nil
	}
	if shown != nil {
		text, _ = json.Marshal(shown)
		_ = json.Unmarshal(text, &values)
	}
	for name, value := range values {
		if _, ok := attributes[name]; !ok {
			attributes[name] = jsonapi.Attribute{ReadOnly: true, Value: value}
		}
	}
	return attributes
}

// CreateConfig is POST /v1/webhooks/configs.
type CreateConfig struct {
	Configs interface {
		// Create stores c. It errors with webhook.ErrLimit if the organization has limit configs.
		Create(ctx context.Context, c *webhook.Config, limit int) error
	}
	Keyring Sealer
	Policy  webhook.URLPolicy
	Limit   int
	Now     func() time.Time
	Random  io.Reader
}

// Route implements Operation.
func (CreateConfig) Route() string { return "POST " + configsPath }

// Serve implements Operation.
func (o CreateConfig) Serve(ctx context.Context, r *Request) (*Response, error) {
	now := webhook.At(o.Now())
	c := &webhook.Config{OrganizationID: r.OrganizationID, Active: true, Version: 1, CreatedAt: now, UpdatedAt: now}
	var headers map[string]signature.Secret
	attributes := withReadOnly(writable(c, &headers, true, o.Policy), nil)
	request := jsonapi.ReadRequest(r.Body, jsonapi.Schema{Type: configType, ID: jsonapi.RefuseID(), Attributes: attributes})
	err := jsonapi.Join(noQuery(r), request.Err())
	if err != nil {
		return nil, err
	}
	if c.ID, err = webhook.NewConfigID(now.Time, o.Random); err != nil {
		return nil, fmt.Errorf("making an id: %w", err)
	}
	credentials, err := issue(ctx, o.Random, o.Keyring, c, headers)
	if err != nil {
		return nil, err
	}
	if err := o.Configs.Create(ctx, c, o.Limit); err != nil {
		return nil, err
	}
	response := configResponse(201, c, now.Time, &credentials)
	response.Location = response.Document.Links.Self
	return response, nil
}

// issue gives c new credentials, sealed with its custom headers.
func issue(
	ctx context.Context, random io.Reader, sealer Sealer, c *webhook.Config, headers map[string]signature.Secret,
) (signature.Credentials, error) {
	credentials, err := signature.NewCredentials(random)
	if err != nil {
		return credentials, err
	}
	credentials.Headers = headers
	c.SecretPrefix = credentials.Prefix()
	c.Sealed, err = sealer.Seal(ctx, credentials, c.OrganizationID, c.ID)
	return credentials, err
}

// lost reports whether credentials that could not be opened never will be.
func lost(err error) bool {
	return errors.Is(err, keyring.ErrSealed) || errors.Is(err, keyring.ErrUnknownKey)
}

// reseal gives c other custom headers beside the credentials that it has.
func reseal(ctx context.Context, keyring Keyring, c *webhook.Config, headers map[string]signature.Secret) error {
	credentials, err := keyring.Open(ctx, c.Sealed, c.OrganizationID, c.ID)
	if lost(err) {
		return jsonapi.NewError(409, "credentials_lost", "the credentials of the config cannot be opened; rotate its secret first")
	}
	if err != nil {
		return err
	}
	credentials.Headers = headers
	c.Sealed, err = keyring.Seal(ctx, credentials, c.OrganizationID, c.ID)
	return err
}

// ListConfigs is GET /v1/webhooks/configs.
type ListConfigs struct {
	Configs interface {
		// List returns up to limit configs in the order of their ids, after the given one; active
		// limits them to those that are, or are not, active.
		List(ctx context.Context, organizationID string, active *bool, after string, limit int) ([]webhook.Config, error)
	}
	Now func() time.Time
}

// Route implements Operation.
func (ListConfigs) Route() string { return "GET " + configsPath }

// Serve implements Operation.
func (o ListConfigs) Serve(ctx context.Context, r *Request) (*Response, error) {
	var active *bool
	query := jsonapi.ParseQuery(r.RawQuery, jsonapi.Parameters{
		"filter[is_active]": readBoolean(&active),
		jsonapi.PageSize:    nil,
		jsonapi.PageAfter:   nil,
	})
	if err := query.Err(); err != nil {
		return nil, err
	}
	size := query.Size()
	scope := append([]string{configType, r.OrganizationID}, query.Scope()...)
	from, err := query.Cursor(func(c jsonapi.Cursor) bool { return len(c) == 1 && webhook.ValidConfigID(c[0]) }, scope...)
	if err != nil {
		return nil, err
	}
	after := ""
	if from != nil {
		after = from[0]
	}
	configs, err := o.Configs.List(ctx, r.OrganizationID, active, after, size+1)
	if err != nil {
		return nil, err
	}
	next := ""
	if len(configs) > size {
		configs = configs[:size]
		next = jsonapi.Cursor{configs[size-1].ID}.Encode(scope...)
	}
	resources := []jsonapi.Resource{}
	now := o.Now()
	for i := range configs {
		resources = append(resources, configResource(configs[i].ID, show(&configs[i], now)))
	}
	return &Response{Status: 200, Document: &jsonapi.Document{Data: resources, Links: query.Links(configsPath, next)}}, nil
}

// GetConfig is GET /v1/webhooks/configs/{id}.
type GetConfig struct {
	Configs ConfigReader
	Now     func() time.Time
}

// Route implements Operation.
func (GetConfig) Route() string { return "GET " + configsPath + "/{id}" }

// Serve implements Operation.
func (o GetConfig) Serve(ctx context.Context, r *Request) (*Response, error) {
	if err := noQuery(r); err != nil {
		return nil, err
	}
	c, err := findConfig(ctx, o.Configs, r.OrganizationID, r.ID)
	if err != nil {
		return nil, err
	}
	return configResponse(200, c, o.Now(), nil), nil
}

func findConfig(ctx context.Context, configs ConfigReader, organizationID, id string) (*webhook.Config, error) {
	if !webhook.ValidConfigID(id) {
		return nil, webhook.ErrNotFound
	}
	return configs.Get(ctx, organizationID, id)
}

// UpdateConfig is PATCH /v1/webhooks/configs/{id}.
type UpdateConfig struct {
	Configs ConfigUpdater
	Keyring Keyring
	Policy  webhook.URLPolicy
	Log     *slog.Logger // of changed URLs
	Now     func() time.Time
}

// Route implements Operation.
func (UpdateConfig) Route() string { return "PATCH " + configsPath + "/{id}" }

// Serve implements Operation.
func (o UpdateConfig) Serve(ctx context.Context, r *Request) (*Response, error) {
	urlBefore := ""
	c, err := change(ctx, o.Configs, r, func(c *webhook.Config) error {
		before := *c
		urlBefore = c.URL
		var headers map[string]signature.Secret
		request := jsonapi.ReadRequest(r.Body, jsonapi.Schema{
			Type:       configType,
			ID:         jsonapi.RequireID(r.ID),
			Attributes: withReadOnly(writable(c, &headers, false, o.Policy), show(&before, o.Now())),
		})
		if err := jsonapi.Join(noQuery(r), request.Err()); err != nil {
			return err
		}
		if c.Active != before.Active {
			c.DeactivatedReason = ""
		}
		if c.URL != before.URL || c.Active && !before.Active {
			// The failures were those of another endpoint, or its owner says that it works again: the
			// threshold of failures counts from the start.
			c.FailureCount, c.FailingSince = 0, webhook.Time{}
		}
		c.UpdatedAt = webhook.At(o.Now())
		if headers == nil {
			return nil
		}
		return reseal(ctx, o.Keyring, c, headers)
	})
	if err != nil {
		return nil, err
	}
	if c.URL != urlBefore {
		o.Log.InfoContext(ctx, "url changed", "organization_id", c.OrganizationID, "config_id", c.ID,
			"url_host_before", host(urlBefore), "url_host", host(c.URL))
	}
	return configResponse(200, c, o.Now(), nil), nil
}

// host returns the host and port of an endpoint's URL. The rest of one may be a secret, which no log shows.
func host(endpoint string) string {
	u, err := url.Parse(endpoint)
	if err != nil {
		return ""
	}
	return u.Host
}

// change reads a config, applies f and writes it. If another request changed the config between the
// two, change begins again, once.
func change(ctx context.Context, configs ConfigUpdater, r *Request, f func(*webhook.Config) error) (*webhook.Config, error) {
	for try := 1; ; try++ {
		c, err := findConfig(ctx, configs, r.OrganizationID, r.ID)
		if err != nil {
			return nil, err
		}
		if err := f(c); err != nil {
			return nil, err
		}
		err = configs.Update(ctx, c)
		if err == nil {
			return c, nil
		}
		if !errors.Is(err, webhook.ErrConflict) || try == 2 {
			return nil, err
		}
	}
}

// DeleteConfig is DELETE /v1/webhooks/configs/{id}.
type DeleteConfig struct {
	Configs interface {
		// Delete leaves a tombstone of a config. It errors with webhook.ErrNotFound.
		Delete(ctx context.Context, organizationID, id string, now time.Time) error
	}
	Now func() time.Time
}

// Route implements Operation.
func (DeleteConfig) Route() string { return "DELETE " + configsPath + "/{id}" }

// Serve implements Operation.
func (o DeleteConfig) Serve(ctx context.Context, r *Request) (*Response, error) {
	if err := noQuery(r); err != nil {
		return nil, err
	}
	if !webhook.ValidConfigID(r.ID) {
		return nil, webhook.ErrNotFound
	}
	if err := o.Configs.Delete(ctx, r.OrganizationID, r.ID, o.Now()); err != nil {
		return nil, err
	}
	return &Response{Status: 204}, nil
}

// RotateSecret is POST /v1/webhooks/configs/{id}/rotate-secret.
type RotateSecret struct {
	Configs ConfigUpdater
	Keyring Keyring
	Now     func() time.Time
	Random  io.Reader
}

// Route implements Operation.
func (RotateSecret) Route() string { return "POST " + configsPath + "/{id}/rotate-secret" }

// Serve implements Operation.
func (o RotateSecret) Serve(ctx context.Context, r *Request) (*Response, error) {
	var credentials signature.Credentials
	c, err := change(ctx, o.Configs, r, func(c *webhook.Config) error {
		overlap, problems := readOverlap(r)
		err := jsonapi.Join(noQuery(r), problems)
		if err != nil {
			return err
		}
		headers, err := o.headers(ctx, c)
		if err != nil {
			return err
		}
		now := o.Now()
		switch {
		case overlap == 0:
			c.PreviousSealed, c.PreviousExpiresAt = "", webhook.Time{}
		case !c.Overlapping(now):
			c.PreviousSealed, c.PreviousExpiresAt = c.Sealed, webhook.At(now.Add(overlap))
		}
		c.UpdatedAt = webhook.At(now)
		credentials, err = issue(ctx, o.Random, o.Keyring, c, headers)
		return err
	})
	if err != nil {
		return nil, err
	}
	return configResponse(200, c, o.Now(), &credentials), nil
}

// headers returns the custom headers of c, which a rotation leaves as they are. They are gone with credentials that
// do not open any more, and only a rotation ends that state, so that it takes place without them, and their names go.
func (o RotateSecret) headers(ctx context.Context, c *webhook.Config) (map[string]signature.Secret, error) {
	if len(c.CustomHeaderNames) == 0 {
		return nil, nil
	}
	credentials, err := o.Keyring.Open(ctx, c.Sealed, c.OrganizationID, c.ID)
	if lost(err) {
		c.CustomHeaderNames = nil
		return nil, nil
	}
	return credentials.Headers, err
}

// readOverlap returns for how long the previous credentials are to be accepted.
func readOverlap(r *Request) (time.Duration, error) {
	overlap := defaultOverlap
	if len(r.Body) == 0 {
		return overlap, nil
	}
	request := jsonapi.ReadRequest(r.Body, jsonapi.Schema{
		Type: configType,
		ID:   jsonapi.AllowID(r.ID),
		Attributes: map[string]jsonapi.Attribute{"overlap_seconds": {Integer: func(seconds int64) error {
			most := int64(maxOverlap / time.Second)
			if seconds < 0 || seconds > most {
				return jsonapi.Invalidf("out_of_range", "must be from 0 to %d", most)
			}
			overlap = time.Duration(seconds) * time.Second
			return nil
		}}},
	})
	return overlap, request.Err()
}

package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/docuhook/docuhook/shared/jsonapi"
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
	PreviousSecretExpiresAt webhook.Time     `json:"previous_secret_expires_at"`
	CreatedAt               webhook.Time     `json:"created_at"`
	UpdatedAt               webhook.Time     `json:"updated_at"`
	Token                   string           `json:"token,omitempty"`
	Secret                  string           `json:"secret,omitempty"`
}

// configResource shows a config. Only create and rotate pass credentials.
func configResource(c *webhook.Config, now time.Time, credentials *signature.Credentials) jsonapi.Resource {
	attributes := configAttributes{
		ResourceType: "document", URL: c.URL, Description: c.Description, SubscribedStatuses: c.SubscribedStatuses,
		IsActive: c.Active, ConsecutiveFailures: c.FailureCount, FailingSince: c.FailingSince,
		SecretPrefix: c.SecretPrefix, CreatedAt: c.CreatedAt, UpdatedAt: c.UpdatedAt,
	}
	if c.DeactivatedReason != "" {
		attributes.DeactivatedReason = &c.DeactivatedReason
	}
	if c.Overlapping(now) {
		attributes.PreviousSecretExpiresAt = c.PreviousExpiresAt
	}
	if credentials != nil {
		attributes.Token, attributes.Secret = credentials.Token.Reveal(), credentials.Secret.Reveal()
	}
	return jsonapi.Resource{Type: configType, ID: c.ID, Attributes: attributes, Links: &jsonapi.Links{Self: configsPath + "/" + c.ID}}
}

func configResponse(status int, c *webhook.Config, now time.Time, credentials *signature.Credentials) *Response {
	resource := configResource(c, now, credentials)
	links := resource.Links
	resource.Links = nil
	return &Response{Status: status, Document: &jsonapi.Document{Data: resource, Links: links}}
}

// configSchema is what a request may say of a config; what it says is set on c.
func configSchema(c *webhook.Config, required bool) map[string]jsonapi.Attribute {
	schema := map[string]jsonapi.Attribute{
		"url":         {Required: required, Text: func(s string) { c.URL = s }},
		"description": {Text: func(s string) { c.Description = s }},
		"subscribed_statuses": {Required: required, Texts: func(names []string) {
			c.SubscribedStatuses = []webhook.Status{}
			for _, name := range names {
				c.SubscribedStatuses = append(c.SubscribedStatuses, webhook.Status(name))
			}
		}},
		"is_active": {Bool: func(b bool) { c.Active = b }},
	}
	for _, name := range []string{"resource_type", "deactivated_reason", "consecutive_failures", "failing_since", "secret_prefix", "previous_secret_expires_at", "created_at", "updated_at", "token", "secret"} {
		schema[name] = jsonapi.Attribute{ReadOnly: true}
	}
	return schema
}

// readConfig sets what the request says on c and returns every problem with it. Attributes that
// could not be read are not judged again.
func readConfig(request *jsonapi.Request, c *webhook.Config, required bool, policy webhook.URLPolicy) error {
	problems := request.Read(configSchema(c, required))
	unread := map[string]bool{}
	for _, problem := range problems {
		unread[*problem.Source.Pointer] = true
	}
	for _, problem := range c.Validate(policy) {
		pointer := "/data/attributes/" + problem.Attribute
		_, said := request.Attributes[attributeName(problem.Attribute)]
		if said && !unread["/data/attributes/"+attributeName(problem.Attribute)] {
			problems = append(problems, jsonapi.NewError(422, problem.Code, "%s %s", problem.Attribute, problem.Detail).AtPointer(pointer)...)
		}
	}
	if len(problems) > 0 {
		return problems
	}
	return nil
}

func attributeName(path string) string {
	for i, r := range path {
		if r == '/' {
			return path[:i]
		}
	}
	return path
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

// Serve implements Operation.
func (o CreateConfig) Serve(ctx context.Context, r *Request) (*Response, error) {
	if err := noQuery(r); err != nil {
		return nil, err
	}
	request, err := jsonapi.ParseRequest(r.Body, configType, jsonapi.RefuseID())
	if err != nil {
		return nil, err
	}
	now := webhook.At(o.Now())
	c := &webhook.Config{OrganizationID: r.OrganizationID, Active: true, Version: 1, CreatedAt: now, UpdatedAt: now}
	if err := readConfig(request, c, true, o.Policy); err != nil {
		return nil, err
	}
	if c.ID, err = webhook.NewConfigID(now.Time, o.Random); err != nil {
		return nil, fmt.Errorf("making an id: %w", err)
	}
	credentials, err := issue(ctx, o.Random, o.Keyring, c)
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

// issue gives c new credentials.
func issue(ctx context.Context, random io.Reader, keyring Sealer, c *webhook.Config) (signature.Credentials, error) {
	credentials, err := signature.NewCredentials(random)
	if err != nil {
		return credentials, err
	}
	c.SecretPrefix = credentials.Prefix()
	c.Sealed, err = keyring.Seal(ctx, credentials, c.OrganizationID, c.ID)
	return credentials, err
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

// Serve implements Operation.
func (o ListConfigs) Serve(ctx context.Context, r *Request) (*Response, error) {
	const filterActive = "filter[is_active]"
	query := jsonapi.ParseQuery(r.RawQuery, filterActive, jsonapi.PageSize, jsonapi.PageAfter)
	size := query.Size()
	var active *bool
	if value, ok := query.Get(filterActive); ok {
		b := value == "true"
		if !b && value != "false" {
			query.Refuse(filterActive, "must be true or false")
		}
		active = &b
	}
	if err := query.Err(); err != nil {
		return nil, err
	}
	scope := append([]string{configType, r.OrganizationID}, query.Scope()...)
	cursor, err := query.Cursor(func(c jsonapi.Cursor) bool { return len(c) == 1 && webhook.ValidConfigID(c[0]) }, scope...)
	if err != nil {
		return nil, err
	}
	after := ""
	if cursor != nil {
		after = cursor[0]
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
		resources = append(resources, configResource(&configs[i], now, nil))
	}
	return &Response{Status: 200, Document: &jsonapi.Document{Data: resources, Links: query.Links(configsPath, next)}}, nil
}

// GetConfig is GET /v1/webhooks/configs/{id}.
type GetConfig struct {
	Configs ConfigReader
	Now     func() time.Time
}

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
	Policy  webhook.URLPolicy
	Now     func() time.Time
}

// Serve implements Operation.
func (o UpdateConfig) Serve(ctx context.Context, r *Request) (*Response, error) {
	if err := noQuery(r); err != nil {
		return nil, err
	}
	c, err := change(ctx, o.Configs, r, func(c *webhook.Config) error {
		request, err := jsonapi.ParseRequest(r.Body, configType, jsonapi.RequireID(r.ID))
		if err != nil {
			return err
		}
		before := *c
		if err := readConfig(request, c, false, o.Policy); err != nil {
			return err
		}
		if c.Active != before.Active {
			c.DeactivatedReason = ""
		}
		if c.URL != before.URL || c.Active && !before.Active {
			c.FailureCount, c.FailingSince = 0, webhook.Time{} // another endpoint, or another chance
		}
		c.UpdatedAt = webhook.At(o.Now())
		return nil
	})
	if err != nil {
		return nil, err
	}
	return configResponse(200, c, o.Now(), nil), nil
}

// change reads a config, applies f and writes it. If somebody else changed it meanwhile it begins
// again, once.
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
	Keyring Sealer
	Now     func() time.Time
	Random  io.Reader
}

// Serve implements Operation.
func (o RotateSecret) Serve(ctx context.Context, r *Request) (*Response, error) {
	if err := noQuery(r); err != nil {
		return nil, err
	}
	var credentials signature.Credentials
	c, err := change(ctx, o.Configs, r, func(c *webhook.Config) error {
		overlap, err := readOverlap(r)
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
		credentials, err = issue(ctx, o.Random, o.Keyring, c)
		return err
	})
	if err != nil {
		return nil, err
	}
	return configResponse(200, c, o.Now(), &credentials), nil
}

func readOverlap(r *Request) (time.Duration, error) {
	overlap := defaultOverlap
	if len(r.Body) == 0 {
		return overlap, nil
	}
	request, err := jsonapi.ParseRequest(r.Body, configType, jsonapi.AllowID(r.ID))
	if err != nil {
		return 0, err
	}
	var seconds *int64
	problems := request.Read(map[string]jsonapi.Attribute{"overlap_seconds": {Integer: func(n int64) { seconds = &n }}})
	if seconds != nil {
		if *seconds < 0 || *seconds > int64(maxOverlap.Seconds()) {
			problems = append(problems, jsonapi.NewError(422, "out_of_range", "overlap_seconds must be from 0 to %d", int(maxOverlap.Seconds())).AtPointer("/data/attributes/overlap_seconds")...)
		}
		overlap = time.Duration(*seconds) * time.Second
	}
	if len(problems) > 0 {
		return 0, problems
	}
	return overlap, nil
}

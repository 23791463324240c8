// Package secretsmanager is AWS Secrets Manager in process: the secrets that a template declares.
//
// A Vault holds secrets, each with its versions, and a version carries staging labels: exactly one
// version is AWSCURRENT, and putting a new value makes the one before it AWSPREVIOUS. Secrets are
// created in process from their definitions, where GenerateSecretString makes a value as
// CloudFormation does; Service lets clients read and replace values over the AWS JSON protocol.
// Values are strings that live in memory only, are not encrypted and end with the process; there are
// no binary values, and no rotation, replication, resource policy or deletion.
package secretsmanager

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/docuhook/docuhook/infra/local/internal/awsjson"
	"github.com/docuhook/docuhook/infra/local/internal/template"
)

// ErrDefinition is wrapped by every error of CreateSecret.
var ErrDefinition = errors.New("invalid secret definition")

// The staging labels that Secrets Manager moves itself.
const (
	current  = "AWSCURRENT"
	previous = "AWSPREVIOUS"
)

// maxValue is the longest value of a secret, in bytes.
const maxValue = 65536

// Options configure a Vault.
type Options struct {
	Region, Account string // parts of the ARN of secrets defined without one
}

// Definition declares a secret, as AWS::SecretsManager::Secret does. Exactly one of SecretString and
// GenerateSecretString must be set.
type Definition struct {
	Name                 string
	ARN                  string // default: made of Region, Account and Name, without the six random characters that AWS appends
	SecretString         string
	GenerateSecretString *template.Generate
}

// Vault holds secrets. Its methods may be called concurrently.
type Vault struct {
	opts Options

	mu      sync.Mutex
	secrets map[string]*secret // by name
}

// secret is a secret with all its versions. The Vault's lock guards it.
type secret struct {
	name, arn string
	versions  map[string]*version // by id
}

// version is one value of a secret.
type version struct {
	id      string
	text    string
	stages  []string
	created time.Time
}

// New makes a Vault without secrets.
func New(opts Options) *Vault {
	return &Vault{opts: opts, secrets: map[string]*secret{}}
}

// Service answers the AWS JSON protocol (target prefix secretsmanager) from this Vault.
func (v *Vault) Service() awsjson.Service { return &service{v} }

var secretName = regexp.MustCompile(`^[A-Za-z0-9/_+=.@-]{1,512}$`)

// CreateSecret adds a secret. An error wraps ErrDefinition.
func (v *Vault) CreateSecret(d Definition) error {
	if !secretName.MatchString(d.Name) {
		return fmt.Errorf("%w: the name %q is not 1 to 512 letters, digits and characters of /_+=.@-", ErrDefinition, d.Name)
	}
	if (d.SecretString == "") == (d.GenerateSecretString == nil) {
		return fmt.Errorf("%w: %s must have either SecretString or GenerateSecretString", ErrDefinition, d.Name)
	}
	value := d.SecretString
	if d.GenerateSecretString != nil {
		var err error
		if value, err = generate(*d.GenerateSecretString); err != nil {
			return fmt.Errorf("%w: GenerateSecretString of %s: %w", ErrDefinition, d.Name, err)
		}
	}
	if len(value) > maxValue {
		return fmt.Errorf("%w: the value of %s has %d bytes, more than %d", ErrDefinition, d.Name, len(value), maxValue)
	}
	if d.ARN == "" {
		d.ARN = fmt.Sprintf("arn:aws:secretsmanager:%s:%s:secret:%s", v.opts.Region, v.opts.Account, d.Name)
	}

	v.mu.Lock()
	defer v.mu.Unlock()
	for _, s := range v.secrets {
		if s.name == d.Name || s.arn == d.ARN {
			return fmt.Errorf("%w: secret %s exists already", ErrDefinition, d.Name)
		}
	}
	s := &secret{name: d.Name, arn: d.ARN, versions: map[string]*version{}}
	s.add(&version{id: uuid.NewString(), text: value, created: time.Now()})
	v.secrets[d.Name] = s
	return nil
}

// add makes a version the current one.
func (s *secret) add(added *version) {
	s.versions[added.id] = added
	if before := s.labelled(current); before != nil {
		s.move(previous, before)
	}
	s.move(current, added)
}

// move takes a label from the version that has it to another.
func (s *secret) move(stage string, to *version) {
	if from := s.labelled(stage); from != nil {
		from.stages = slices.DeleteFunc(from.stages, func(name string) bool { return name == stage })
	}
	to.stages = append(to.stages, stage)
}

// labelled is the version with this label, or nil.
func (s *secret) labelled(stage string) *version {
	for _, v := range s.versions {
		if slices.Contains(v.stages, stage) {
			return v
		}
	}
	return nil
}

// find is the secret with this name or ARN, or nil. The lock is held.
func (v *Vault) find(id string) *secret {
	if s := v.secrets[id]; s != nil {
		return s
	}
	for _, s := range v.secrets {
		if s.arn == id {
			return s
		}
	}
	return nil
}

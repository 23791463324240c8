package secretsmanager

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"strings"
)

// The types of characters of a password. Punctuation is what AWS documents.
const (
	lowercase   = "abcdefghijklmnopqrstuvwxyz"
	uppercase   = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	numbers     = "0123456789"
	punctuation = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"
)

// GenerateSecretString is a secret's random value: just the password, or, if SecretStringTemplate and
// GenerateStringKey are set, the template's JSON object with the password under that key.
type GenerateSecretString struct {
	PasswordLength       int // 4 to 4096
	ExcludePunctuation   bool
	SecretStringTemplate string
	GenerateStringKey    string
}

func (g *GenerateSecretString) generate(random io.Reader) (string, error) {
	if (g.SecretStringTemplate == "") != (g.GenerateStringKey == "") {
		return "", errors.New("SecretStringTemplate and GenerateStringKey go together")
	}
	password, err := draw(random, g.PasswordLength, g.ExcludePunctuation)
	if err != nil || g.GenerateStringKey == "" {
		return password, err
	}
	var members map[string]any
	if err := json.Unmarshal([]byte(g.SecretStringTemplate), &members); err != nil || members == nil {
		return "", errors.New("SecretStringTemplate is not a JSON object")
	}
	members[g.GenerateStringKey] = password
	value, err := json.Marshal(members)
	if err != nil {
		return "", fmt.Errorf("encoding the value: %w", err)
	}
	return string(value), nil
}

// draw makes a password of letters, digits and punctuation, with at least one character of each type.
func draw(random io.Reader, length int, excludePunctuation bool) (string, error) {
	if length < 4 || length > 4096 {
		return "", fmt.Errorf("PasswordLength is %d, not 4 to 4096", length)
	}
	included := []string{lowercase, uppercase, numbers}
	if !excludePunctuation {
		included = append(included, punctuation)
	}
	var password []byte
	pick := func(characters string) error {
		i, err := below(random, len(characters))
		if err == nil {
			password = append(password, characters[i])
		}
		return err
	}
	for _, characters := range included {
		if err := pick(characters); err != nil {
			return "", err
		}
	}
	all := strings.Join(included, "")
	for len(password) < length {
		if err := pick(all); err != nil {
			return "", err
		}
	}
	for i := len(password) - 1; i > 0; i-- { // the required ones must not stand in front
		j, err := below(random, i+1)
		if err != nil {
			return "", err
		}
		password[i], password[j] = password[j], password[i]
	}
	return string(password), nil
}

// below draws a number from 0 to n-1, each as likely as the others.
func below(random io.Reader, n int) (int, error) {
	i, err := rand.Int(random, big.NewInt(int64(n)))
	if err != nil {
		return 0, fmt.Errorf("reading randomness: %w", err)
	}
	return int(i.Int64()), nil
}

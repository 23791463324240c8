package secretsmanager

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
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

func (g *GenerateSecretString) generate() (string, error) {
	if (g.SecretStringTemplate == "") != (g.GenerateStringKey == "") {
		return "", errors.New("SecretStringTemplate and GenerateStringKey go together")
	}
	password, err := draw(g.PasswordLength, g.ExcludePunctuation)
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

// draw makes a password of letters, digits and punctuation, with at least one character of each type. It
// protects nothing but what this machine holds in memory.
func draw(length int, excludePunctuation bool) (string, error) {
	if length < 4 || length > 4096 {
		return "", fmt.Errorf("PasswordLength is %d, not 4 to 4096", length)
	}
	included := []string{lowercase, uppercase, numbers}
	if !excludePunctuation {
		included = append(included, punctuation)
	}
	var password []byte
	for _, characters := range included {
		password = append(password, characters[rand.IntN(len(characters))])
	}
	all := strings.Join(included, "")
	for len(password) < length {
		password = append(password, all[rand.IntN(len(all))])
	}
	// The required ones must not stand in front.
	rand.Shuffle(len(password), func(i, j int) { password[i], password[j] = password[j], password[i] })
	return string(password), nil
}

package secretsmanager

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"

	"github.com/docuhook/docuhook/infra/local/internal/template"
)

// The types of characters of a password. Punctuation is what AWS documents.
const (
	lowercase   = "abcdefghijklmnopqrstuvwxyz"
	uppercase   = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	numbers     = "0123456789"
	punctuation = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"
)

// generate makes a secret's random value: just the password, or, if Template and Key are set, the template's JSON object
// with the password under that key.
func generate(g template.Generate) (string, error) {
	if (g.Template == "") != (g.Key == "") {
		return "", errors.New("SecretStringTemplate and GenerateStringKey go together")
	}
	password, err := draw(g.Length, g.ExcludePunctuation)
	if err != nil || g.Key == "" {
		return password, err
	}
	var members map[string]any
	if err := json.Unmarshal([]byte(g.Template), &members); err != nil || members == nil {
		return "", errors.New("SecretStringTemplate is not a JSON object")
	}
	members[g.Key] = password
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

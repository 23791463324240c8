package wiring

import "github.com/docuhook/docuhook/shared/api"

// CreateConfig creates a config and shows its credentials.
func (e *Environment) CreateConfig() api.CreateConfig {
	return api.CreateConfig{
		Configs: e.configs(),
		Keyring: e.keyring(),
		Policy:  e.urlPolicy(),
		Limit:   e.number("CONFIG_LIMIT", 1),
		Now:     e.now,
		Random:  e.machine.Random,
	}
}

// ListConfigs lists the configs of an organization.
func (e *Environment) ListConfigs() api.ListConfigs {
	return api.ListConfigs{
		Configs: e.configs(),
		Now:     e.now,
	}
}

// GetConfig shows a config.
func (e *Environment) GetConfig() api.GetConfig {
	return api.GetConfig{
		Configs: e.configs(),
		Now:     e.now,
	}
}

// UpdateConfig changes a config.
func (e *Environment) UpdateConfig() api.UpdateConfig {
	return api.UpdateConfig{
		Configs: e.configs(),
		Keyring: e.keyring(),
		Policy:  e.urlPolicy(),
		Log:     e.log,
		Now:     e.now,
	}
}

// DeleteConfig deletes a config.
func (e *Environment) DeleteConfig() api.DeleteConfig {
	return api.DeleteConfig{
		Configs: e.configs(),
		Now:     e.now,
	}
}

// RotateSecret gives a config new credentials.
func (e *Environment) RotateSecret() api.RotateSecret {
	return api.RotateSecret{
		Configs: e.configs(),
		Keyring: e.keyring(),
		Now:     e.now,
		Random:  e.machine.Random,
	}
}

// ListEvents lists the events of an organization.
func (e *Environment) ListEvents() api.ListEvents {
	return api.ListEvents{
		Events: e.events(),
		Now:    e.now,
	}
}

// GetEvent shows an event with its deliveries.
func (e *Environment) GetEvent() api.GetEvent {
	return api.GetEvent{
		Events:     e.events(),
		Deliveries: e.deliveries(),
		Now:        e.now,
	}
}

// ListDeliveries lists the deliveries of an organization.
func (e *Environment) ListDeliveries() api.ListDeliveries {
	return api.ListDeliveries{
		Deliveries: e.deliveries(),
		Events:     e.events(),
		Configs:    e.configs(),
		Now:        e.now,
	}
}

// GetDelivery shows a delivery with its attempts.
func (e *Environment) GetDelivery() api.GetDelivery {
	return api.GetDelivery{
		Deliveries: e.deliveries(),
		Now:        e.now,
	}
}

// ResendDelivery sends a delivery again.
func (e *Environment) ResendDelivery() api.ResendDelivery {
	return api.ResendDelivery{
		Budget:     e.resends(),
		Deliveries: e.deliveries(),
		Configs:    e.configs(),
		Lanes:      e.lanes(),
		Now:        e.now,
	}
}

// SendTest sends a test event.
func (e *Environment) SendTest() api.SendTest {
	return api.SendTest{
		Budget:      api.Budget{Uses: e.configs(), What: "tests", Limit: e.number("TESTS_PER_MINUTE", 1)},
		Configs:     e.configs(),
		Lanes:       e.lanes(),
		DocumentURL: e.documentURL(),
		Now:         e.now,
		Random:      e.machine.Random,
	}
}

// Resend sends a document's status, or a config's events of a period, again.
func (e *Environment) Resend() api.Resend {
	return api.Resend{
		Budget:      e.resends(),
		Configs:     e.configs(),
		Documents:   e.documents(),
		Events:      e.events(),
		Deliveries:  e.deliveries(),
		RetryQueue:  e.retryQueue(),
		DocumentURL: e.documentURL(),
		Now:         e.now,
	}
}

func (e *Environment) resends() api.Budget {
	return api.Budget{Uses: e.configs(), What: "resends", Limit: e.number("RESENDS_PER_MINUTE", 1)}
}

func (e *Environment) lanes() api.Lanes {
	return api.Lanes{Fast: e.deliveryQueue(), Retry: e.retryQueue()}
}

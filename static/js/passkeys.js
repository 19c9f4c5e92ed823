// Passkeys: asks the browser for one and sends its answer with the form. What is a valid one is decided by the server.

const UNABLE = "This browser cannot use passkeys here. They need https, or localhost by its name.";

for (const form of document.querySelectorAll("form[data-passkey]")) {
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const error = form.querySelector("[data-passkey-error]");
    error.hidden = true;
    try {
      form.elements.credential.value = JSON.stringify(await ask(form));
    } catch (reason) {
      error.textContent = sentence(reason);
      error.hidden = false;
      return;
    }
    form.submit();
  });
}

async function ask(form) {
  if (!window.PublicKeyCredential?.parseRequestOptionsFromJSON) throw new DOMException(UNABLE, "SecurityError");
  const { creation_options: creation, request_options: request } = await optionsOf(form);
  if (form.dataset.passkey !== "add") {
    return navigator.credentials.get({ publicKey: PublicKeyCredential.parseRequestOptionsFromJSON(request.publicKey) });
  }
  // Kept on the device and opened by the person there: only such a key can stand alone at the door.
  const chosen = { residentKey: "required", requireResidentKey: true, userVerification: "required" };
  const asked = { ...creation.publicKey, authenticatorSelection: { ...creation.publicKey.authenticatorSelection, ...chosen } };
  return navigator.credentials.create({ publicKey: PublicKeyCredential.parseCreationOptionsFromJSON(asked) });
}

async function optionsOf(form) {
  if (form.dataset.passkey !== "sign-in") return JSON.parse(document.getElementById("passkey-options").textContent);
  const answer = await fetch(form.action, { headers: { Accept: "application/json" } });
  if (answer.status === 429) throw new DOMException("Too many attempts. Wait a minute.", "QuotaExceededError");
  if (!answer.ok) throw new DOMException("The server does not answer.", "NetworkError");
  return answer.json();
}

function sentence(reason) {
  if (reason.name === "NotAllowedError") return "The device did not confirm it. Nothing was changed; try again.";
  if (reason.name === "InvalidStateError") return "This device has a passkey of yours already.";
  if (reason.name === "SecurityError") return UNABLE;
  return reason instanceof DOMException ? reason.message : "The server does not answer.";
}

local health = {}
local status = obj.status or {}
local conditions = {}
for _, condition in ipairs(status.conditions or {}) do
  conditions[condition.type] = condition
end
local function holds(name)
  return conditions[name] ~= nil and conditions[name].status == "True"
end
local function message(name, otherwise)
  local condition = conditions[name]
  if condition ~= nil and condition.message ~= nil and condition.message ~= "" then
    return condition.message
  end
  return otherwise
end
if status.observedGeneration ~= obj.metadata.generation then
  if obj.spec ~= nil and obj.spec.suspend == true then
    health.status = "Suspended"
    health.message = "spec.suspend is true"
  else
    health.status = "Progressing"
    health.message = "pgwarden has not looked at this version of the object yet"
  end
elseif holds("Stalled") then
  health.status = "Degraded"
  health.message = message("Stalled", "waits for a change of its spec")
elseif obj.spec ~= nil and obj.spec.suspend == true then
  health.status = "Suspended"
  health.message = "spec.suspend is true"
elseif holds("Ready") then
  health.status = "Healthy"
  health.message = message("Ready", "ready")
else
  health.status = "Progressing"
  health.message = message("Ready", "work goes on")
end
return health

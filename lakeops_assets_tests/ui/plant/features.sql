SELECT id, at, temp, site FROM plant.readings

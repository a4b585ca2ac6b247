"""JK PB series on RS485: Modbus RTU."""
